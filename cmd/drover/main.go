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
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitCode is an error that only sets the exit code: what there is to say was said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := newApp(in, out, errOut)
	root := newRoot(a)
	root.SetArgs(doubleDashes(root, args))
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(errOut, "Error:", explain(a, err))
	var asked interface{ ExitCode() int }
	if errors.As(err, &asked) {
		return asked.ExitCode()
	}
	return 1
}
