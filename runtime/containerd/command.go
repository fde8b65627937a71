package containerd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/drover-io/drover/runtime"
)

const (
	// lingerFor is how long streams are listened to that something holds open after the command has ended, and nothing comes.
	lingerFor = 300 * time.Millisecond
	// killedWithin is how long the daemon may take to end a command.
	killedWithin = 5 * time.Second
	// codeMissing and codeUnfit are the exit codes that shells give to a program that is not there, and to one that cannot be run.
	codeMissing = 127
	codeUnfit   = 126
)

var _ runtime.Execer = (*Driver)(nil)

// Exec runs a command in the container of a task.
func (d *Driver) Exec(ctx context.Context, spec runtime.TaskSpec, cmd runtime.Command) (int, error) {
	if cmd.Stdin != nil {
		defer cmd.Stdin.Close()
	}
	name := containerID(spec.ID)
	s, ctx, err := d.session(ctx)
	if err != nil {
		return -1, err
	}
	task, err := loadTask(ctx, s, name)
	if errdefs.IsNotFound(err) {
		return -1, fmt.Errorf("run a command in container %s: %w", name, runtime.ErrNotFound)
	}
	if err != nil {
		return -1, explain(err, "look for container %s", name)
	}
	c := &command{Command: cmd, ctx: context.WithoutCancel(ctx), name: name, id: "command-" + randomID(), started: make(chan struct{})}
	c.mark = runtime.CommandMark + d.cfg.NodeID + "/" + c.id
	return d.runCommand(ctx, task, c)
}

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return hex.EncodeToString(b[:])
}

// command is one command on its way.
type command struct {
	runtime.Command
	ctx     context.Context // of calls to the daemon, for what the streams cause; not a request's
	name    string          // of the container
	id      string          // of the process in it
	mark    string
	process client.Process
	streams activity
	started chan struct{} // closed when process runs, or never will
	ended   sync.Once     // its input
}

func (d *Driver) runCommand(ctx context.Context, task client.Task, c *command) (int, error) {
	ps, err := c.processSpec(ctx, task)
	if err != nil {
		return -1, err
	}
	io, err := c.io(d.fifoDir())
	if err != nil {
		return -1, err
	}
	// A user who goes does not break off the start: what the daemon began would run, and nobody would know when to end it.
	begin, cancel := context.WithTimeout(c.ctx, createTimeout)
	defer cancel()
	begun := sync.OnceFunc(func() { close(c.started) })
	defer begun()
	if c.process, err = task.Exec(begin, c.id, ps, io); err != nil {
		return -1, explain(err, "make a command in container %s", c.name)
	}
	defer c.remove(ctx)
	watching, unwatch := context.WithCancel(c.ctx)
	defer unwatch()
	exits, err := c.process.Wait(watching)
	if err != nil {
		return -1, explain(err, "wait for a command in container %s", c.name)
	}
	if err := c.process.Start(begin); err != nil {
		if begin.Err() != nil {
			c.kill(exits) // it may have been started since
		}
		return c.notStarted(err)
	}
	begun()
	over := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(over)
	wg.Go(func() { c.resizes(ctx, over) })
	select {
	case st := <-exits:
		code, _, err := st.Result()
		if err != nil {
			c.kill(exits)
			return -1, explain(err, "wait for a command in container %s", c.name)
		}
		c.drain()
		return int(code), nil
	case <-ctx.Done():
		c.kill(exits)
		return -1, context.Cause(ctx)
	}
}

// processSpec is the container's own process with another program.
func (c *command) processSpec(ctx context.Context, task client.Task) (*specs.Process, error) {
	spec, err := task.Spec(ctx)
	if err != nil {
		return nil, explain(err, "read the specification of container %s", c.name)
	}
	p := *spec.Process
	p.Args, p.Terminal, p.CommandLine = c.Args, c.TTY, ""
	p.Env = append(slices.Clone(p.Env), c.mark)
	if c.TTY && !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "TERM=") }) {
		p.Env = append(p.Env, "TERM=xterm")
	}
	return &p, nil
}

// fifoDir is where the pipes of commands are. They are of this life of the agent.
func (d *Driver) fifoDir() string { return filepath.Join(d.cfg.dir(), "fifo", slug(d.cfg.NodeID, 64)) }

// io makes the command's streams.
func (c *command) io(dir string) (cio.Creator, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of commands' streams: %w", err)
	}
	var in io.Reader
	if c.Stdin != nil || !c.TTY {
		in = &input{c: c}
	}
	opts := []cio.Opt{cio.WithStreams(in, c.streams.watch(c.Stdout), c.streams.watch(c.Stderr)), cio.WithFIFODir(dir)}
	if c.TTY {
		opts = append(opts, cio.WithTerminal)
	}
	return cio.NewCreator(opts...), nil
}

// input is what the command reads. Its end must be told to the daemon, whose shim holds the pipe open too.
type input struct{ c *command }

// Read reads what is to be typed.
func (in *input) Read(p []byte) (n int, err error) {
	err = io.EOF
	if in.c.Stdin != nil {
		n, err = in.c.Stdin.Read(p)
	}
	if err != nil && n == 0 && in.c.TTY && errors.Is(err, io.EOF) {
		in.c.ended.Do(func() { n, err = copy(p, "\x04"), nil }) // ^D, which says the same on a terminal
	}
	if err != nil && !in.c.TTY {
		in.c.ended.Do(in.c.closeInput)
	}
	return n, err
}

// closeInput ends the command's input once it runs.
func (c *command) closeInput() {
	<-c.started
	if c.process == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, killedWithin)
	defer cancel()
	_ = c.process.CloseIO(ctx, client.WithStdinCloser) // it may have ended
}

// activity notes when something was last written, so that streams are drained and not waited for without end.
type activity struct {
	last atomic.Int64
	busy atomic.Int64
}

type watched struct {
	a *activity
	w io.Writer
}

func (a *activity) watch(w io.Writer) io.Writer { return watched{a, w} }

// Write hands on and notes it. What nobody wants is dropped: the command is not to hang.
func (w watched) Write(p []byte) (int, error) {
	w.a.busy.Add(1)
	defer w.a.busy.Add(-1)
	_, _ = w.w.Write(p)
	w.a.last.Store(time.Now().UnixNano())
	return len(p), nil
}

// quiet reports whether nothing has been written for a while.
func (a *activity) quiet(d time.Duration) bool {
	return a.busy.Load() == 0 && time.Since(time.Unix(0, a.last.Load())) > d
}

// drain waits until everything that the command wrote has been handed out. What it left behind in the container may hold its
// streams open: when nothing comes for a while they are closed.
func (c *command) drain() {
	c.streams.last.Store(time.Now().UnixNano())
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c.process.IO().Wait()
		close(done)
	})
	tick := time.NewTicker(lingerFor / 10)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if c.streams.quiet(lingerFor) {
				c.process.IO().Cancel()
				_ = c.process.IO().Close() // its copies end
				return
			}
		}
	}
}

// resizes gives the terminal the sizes that come.
func (c *command) resizes(ctx context.Context, over <-chan struct{}) {
	if c.Resize == nil || !c.TTY {
		return
	}
	for {
		select {
		case <-over:
			return
		case size, open := <-c.Resize:
			if !open {
				return
			}
			_ = c.process.Resize(ctx, uint32(size.Columns), uint32(size.Rows)) // it may have ended
		}
	}
}

// kill ends the command and what came of it. exits is closed, or says how the command ended.
func (c *command) kill(exits <-chan client.ExitStatus) {
	ctx, cancel := context.WithTimeout(c.ctx, killedWithin)
	defer cancel()
	_ = c.process.Kill(ctx, syscall.SIGKILL) // ended already is as good
	_ = runtime.KillMarked(ctx, c.mark)      // what hangs in the kernel dies later
	select {
	case <-exits:
	case <-ctx.Done():
	}
}

// remove deletes what the daemon keeps of the command.
func (c *command) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if c.process.IO() != nil {
		c.process.IO().Cancel()
	}
	_, _ = c.process.Delete(ctx, client.WithProcessKill) // what is left goes with the container
}

// notStarted turns runc's words for a program that is not there into ours.
func (c *command) notStarted(err error) (int, error) {
	// runc: … unable to start container process: exec: "x": executable file not found in $PATH: unknown
	_, text, _ := strings.Cut(err.Error(), "unable to start container process: ")
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return codeMissing, fmt.Errorf("command %q not found in container %s: %w", c.Args[0], c.name, runtime.ErrNoCommand)
	case strings.Contains(text, "permission denied"), strings.Contains(text, "is a directory"), strings.Contains(text, "exec format error"):
		return codeUnfit, fmt.Errorf("command %q cannot be run in container %s: %w: %w", c.Args[0], c.name, runtime.ErrBadCommand, err)
	case strings.Contains(err.Error(), "not running"), errdefs.IsNotFound(err):
		return -1, fmt.Errorf("run a command in container %s: %w", c.name, runtime.ErrNotFound)
	}
	return -1, explain(err, "start a command in container %s", c.name)
}

// sweepCommands ends the commands of an agent that was killed.
func (d *Driver) sweepCommands() {
	if os.Geteuid() != 0 || d.cfg.DataDir == "" {
		return
	}
	if err := os.RemoveAll(d.fifoDir()); err != nil {
		d.log.Warn("cannot clear away the streams of earlier commands", "error", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), killedWithin)
	defer cancel()
	if err := runtime.KillMarked(ctx, runtime.CommandMark+d.cfg.NodeID+"/"); err != nil {
		d.log.Warn("cannot end a command that an earlier agent ran in a task", "error", err)
	}
}
