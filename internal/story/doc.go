// Package story reads files of command lines with what they print, the proofs of the command line:
//
//	# A story tells something.
//
//	$ drover job status
//	No jobs. `drover job init` writes an example, `drover job run` runs it.
//
//	= web 2 running
//
//	$ drover job stats
//	Error: `drover job` has no command "stats"; did you mean `drover job status`?
//	[exit 127]
//
// A line that begins with "$ " is a command line; behind it comes what it prints and, unless it is 0, its exit code. One that begins
// with "= " waits for something that its teller understands. What differs from run to run is replaced by Normal, an answer in JSON by
// its Outline. A test compares the story with what is printed now; told with -rewrite it takes that over.
//
// It owns the format and knows no command. Two tellers use it: the tests of cmd/drover, with one agent whose machine pretends to run
// tasks, and e2e/cli, with real agents and a shell.
package story
