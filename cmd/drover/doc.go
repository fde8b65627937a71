// Command drover is the whole of Drover in one binary: the agent that every machine runs, the command line that talks to it,
// and, started again by the agent under other names, the embedded containerd, its shim and the first process of exec tasks.
//
// One file per noun. Commands print to app.out and app.err and return errors; main turns them into exit codes. What every command
// uses:
//
//   - shape: addFlags gives -o table|wide|json|yaml|name, --json and -t; printList (lists, by their columns) and printNamed (one thing)
//     obey them.
//   - reader: addFlags, behind RunE, gives --stale and --watch; fetch, fetchAll and find read through it, so that a watched command
//     waits for changes and an answer without a leader is marked.
//   - table, facts, age, shortID: how people see rows, values, times and IDs; the screen behind app.out knows width and colours.
//   - app.client, arguments, noun, habits, app.completeJobs and its kin; the annotation offline for commands that ask no agent.
//
// Every command has a story in testdata (an agent that pretends to run tasks) or a test, and one in e2e/cli/testdata (`make test-cli`).
package main
