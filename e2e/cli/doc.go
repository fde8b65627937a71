// Command cli tells the stories of testdata with real agents: three servers and two clients, machines made of namespaces where the
// kernel allows it, and a shell that types the command lines. It fails when a story prints something else than is written down, and
// when a command of the binary has no story in which it succeeds, none in which it is used wrongly, or, where it has --json, none with
// that. `-rewrite` takes over what is printed now; `-story NAME` tells only some.
//
// In a story a command line is the shell's: pipes, redirections and $(…) work. It runs in testdata, with drover first in the PATH.
// Beside what package story knows:
//
//	= web 2 running    waits until two copies of the job web have that client status
//	= until COMMAND    waits until a shell command succeeds
//
// The shell knows $M1 … $M5 (addresses of the agents; DROVER_ADDR is $M1), $N1 … $N5 (their node IDs), $M1IP and $HOSTIP (addresses of
// the first machine and of the one that the shell is on), $HELLO (the program of examples/hello) and $TMP (a directory for the story
// alone). Its functions:
//
//	alloc NAME                 the ID of the newest allocation of that name, such as web.g[0]
//	by N                       sorts a table by its N-th column, leaving the header on top
//	image REF FILE [VERSION]   writes an image of hello as docker save does, another one for each version
//	get URL                    what a web server answers
//
// A story whose first line ends in "Needs root." is left out for others. All jobs are purged behind each story, and the images that were imported removed.
package main
