package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/drover-io/drover/api"
)

// verbatim marks commands whose first argument ends their own flags: what follows belongs to somebody else.
const verbatim = "verbatim"

// errLeft is why a command was ended whose user typed the escape.
var errLeft = errors.New("left")

// execOptions are the flags of `alloc exec`.
type execOptions struct {
	stdin, tty, job bool
	escape, task    string
}

func newAllocExec(a *app) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec <alloc|job> [--] <command> [argument]...",
		Short: "Run a command inside a task",
		Long: `Run a command inside a running task: in its namespaces, under its limits, as its user. Of a job the newest copy that runs is taken.

The exit code is the command's; 126 when it cannot be run, 127 when there is no such program. A command whose connection breaks, or
whose user interrupts it, is killed. On a terminal the line ~. leaves it, and ~~ at the beginning of a line is one ~.`,
		Example: `  drover alloc exec -it hello sh
  drover alloc exec --task web 8f3c -- ps aux
  tar c conf | drover alloc exec 8f3c tar x -C /local`,
		Args:        arguments(2, 10_000),
		Annotations: map[string]string{verbatim: "true"},
		SuggestFor:  []string{"attach", "shell", "ssh", "run"},
		RunE: func(cmd *cobra.Command, args []string) error {
			words := args[1:]
			if words[0] == "--" {
				words = words[1:]
			}
			if len(words) == 0 {
				return fmt.Errorf("name the command to run: drover alloc exec %s -- <command>", args[0])
			}
			terminal := isTerminal(a.in) && isTerminal(a.out)
			if !cmd.Flags().Changed("tty") {
				o.tty = terminal && o.stdin
			}
			return a.exec(cmd.Context(), o, args[0], words)
		},
		ValidArgsFunction: a.completeAllocs,
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.BoolVarP(&o.stdin, "stdin", "i", true, "let it read the standard input")
	fs.BoolVarP(&o.tty, "tty", "t", false, "give it a terminal (default: when this is one)")
	fs.StringVarP(&o.escape, "escape", "e", "~", "`character` that begins an escape at the beginning of a line on a terminal; none for no escapes")
	fs.StringVar(&o.task, "task", "", "the `task`, when the allocation has several")
	fs.BoolVar(&o.job, "job", false, "the first argument is a job's ID, also where an allocation's begins so")
	return cmd
}

// exec runs a command inside a task, connected to this process's streams.
func (a *app) exec(ctx context.Context, o execOptions, word string, words []string) error {
	escape, err := o.escapeRune()
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	x, err := a.pickAlloc(ctx, c, word, o.job)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	streams := api.ExecIO{Stdout: a.plainOut(), Stderr: a.err}
	restore := func() {}
	if file, ok := a.in.(*os.File); ok && o.tty && isTerminal(file) {
		if streams.Resize, restore, err = rawTerminal(ctx, file); err != nil {
			return err
		}
		defer restore()
	}
	if o.stdin {
		streams.Stdin = newKeyboard(a.in)
		if o.tty && escape != 0 {
			streams.Stdin = &escaping{r: streams.Stdin, char: escape, left: func() { leave(errLeft) }}
		}
	}
	code, err := c.Exec(ctx, api.ExecRequest{AllocID: x.ID, Task: o.task, Command: words, TTY: o.tty}, streams)
	restore()
	if errors.Is(err, api.ErrConflict) { // the task does not run
		err = fmt.Errorf("%w\n  `drover alloc status %s` shows what became of it", err, shortID(x.ID, false))
	}
	return execOutcome(ctx, a, code, err)
}

// execOutcome makes the end of a command that of this process.
func execOutcome(ctx context.Context, a *app, code int, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errLeft):
		fmt.Fprintln(a.err, "\nLeft; the command was killed.")
		return exitCode(exitInterrupted)
	case err != nil && code > 0:
		return coded{err, code}
	case err != nil:
		return err
	case code != 0:
		return exitCode(code)
	}
	return nil
}

// rawTerminal hands the keys of a terminal on as they are, and tells its sizes, until restore is called or ctx ends.
func rawTerminal(ctx context.Context, tty *os.File) (sizes <-chan api.TTYSize, restore func(), err error) {
	before, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("prepare the terminal: %w", err)
	}
	ch, over := make(chan api.TTYSize, 1), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { watchSize(tty, ch, over) })
	back := sync.OnceFunc(func() { _ = term.Restore(int(tty.Fd()), before) }) // nothing more can be done
	stop := context.AfterFunc(ctx, back)                                      // a second signal ends the process at once
	return ch, sync.OnceFunc(func() {
		stop()
		back()
		close(over)
		wg.Wait()
	}), nil
}

func (o execOptions) escapeRune() (byte, error) {
	if o.escape == "none" || o.escape == "" {
		return 0, nil
	}
	if len(o.escape) != 1 || o.escape[0] < '!' || o.escape[0] >= utf8.RuneSelf {
		return 0, fmt.Errorf("flag --escape wants one character such as ~, or none, not %q", o.escape)
	}
	return o.escape[0], nil
}

// plainOut is the output without what the screen knows.
func (a *app) plainOut() io.Writer {
	if s, ok := a.out.(*screen); ok {
		return s.Writer
	}
	return a.out
}

// watchSize tells the terminal's size, now and whenever it changes.
func watchSize(tty *os.File, sizes chan<- api.TTYSize, over <-chan struct{}) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		if width, height, err := term.GetSize(int(tty.Fd())); err == nil {
			select {
			case sizes <- api.TTYSize{Width: width, Height: height}:
			case <-over:
				return
			}
		}
		select {
		case <-changed:
		case <-over:
			return
		}
	}
}

// escaping looks for the escape character at the beginning of lines.
type escaping struct {
	r    io.Reader
	char byte
	left func()

	begun bool   // something was typed in this line
	held  bool   // the escape character was
	rest  []byte // to be handed out
}

// Read hands on what is typed, but for escapes.
func (e *escaping) Read(p []byte) (int, error) {
	for len(e.rest) == 0 {
		n, err := e.r.Read(p)
		e.rest = e.sift(p[:n])
		if err != nil {
			n := copy(p, e.rest)
			e.rest = nil
			return n, err
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// sift takes escapes out of what was typed.
func (e *escaping) sift(in []byte) []byte {
	out := make([]byte, 0, len(in)+1)
	for _, b := range in {
		switch {
		case e.held && b == '.':
			e.left()
			return out
		case e.held && b == e.char:
			e.held, e.begun = false, true
			out = append(out, b)
			continue
		case e.held:
			e.held = false
			out = append(out, e.char)
		case !e.begun && b == e.char:
			e.held, e.begun = true, true
			continue
		}
		e.begun = b != '\r' && b != '\n'
		out = append(out, b)
	}
	return out
}

// Close ends a Read that waits for something to be typed.
func (e *escaping) Close() error {
	if c, ok := e.r.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
