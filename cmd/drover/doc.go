// Command drover is the whole of Drover in one binary: the agent that every machine runs, the command line that talks to it,
// and, started again by the agent under other names, the embedded containerd, its shim and the first process of exec tasks.
//
// One file per noun. Commands print to app.out and app.err and return errors; main turns them into exit codes.
package main
