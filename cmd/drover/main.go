package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/drover-io/drover/runtime/containerd/embedded"
	"github.com/drover-io/drover/runtime/exec"
)

// version is set by the linker.
var version = "dev"

func main() {
	// The agent starts this binary again under other names; those must come first and start nothing else.
	if handled, code := embedded.Main(os.Args); handled {
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == "exec-init" {
		os.Exit(exec.InitMain(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process, whatever it is waiting for
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes that every command may have.
const (
	exitError       = 1
	exitUnknown     = 127 // there is no such command
	exitInterrupted = 130
)

// exitCode is an error that only sets the exit code: what there is to say was said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// coded is an error with an exit code of its own.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	return newApp(in, out, errOut).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(doubleDashes(root, args))
	err := root.ExecuteContext(ctx)
	var said exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &said):
		return int(said)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(a.err, "Interrupted.")
		return exitInterrupted
	}
	fmt.Fprintln(a.err, "Error:", explain(a, err))
	var c coded
	if errors.As(err, &c) {
		return c.code
	}
	return exitError
}
