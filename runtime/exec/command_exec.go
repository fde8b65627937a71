package exec

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/drover-io/drover/runtime"
)

const (
	// lingerFor is how long a pipe is listened to that something holds open after the command has ended.
	lingerFor = 300 * time.Millisecond
	// maxLate is how much is read after the command has ended: more than a pipe holds.
	maxLate = 1 << 20
	// killedWithin is how long init may take to say that a command was killed.
	killedWithin = 5 * time.Second
	// codeTaskEnded is the exit code of a command that was killed with its task.
	codeTaskEnded = 128 + 9
	// codeMissing and codeUnfit are the exit codes that shells give to a program that is not there, and to one that cannot be run.
	codeMissing = 127
	codeUnfit   = 126
)

var _ runtime.Execer = (*Driver)(nil)

// Exec runs a command inside a task, by way of its init process.
func (d *Driver) Exec(ctx context.Context, spec runtime.TaskSpec, cmd runtime.Command) (int, error) {
	name, err := taskName(spec.ID)
	if err != nil {
		return -1, fmt.Errorf("run a command: %w", err)
	}
	t, err := d.load(name)
	if err != nil {
		return -1, fmt.Errorf("run a command in task %s: %w", name, err)
	}
	c, code, err := d.call(name, spec, cmd)
	if err != nil {
		return code, err
	}
	conn, err := t.dialControl()
	if err != nil {
		return -1, fmt.Errorf("run a command in task %s: %w", name, err)
	}
	defer conn.Close()
	s, theirs, err := openStreams(cmd, spec.User != "", c.User)
	if err != nil {
		return -1, fmt.Errorf("run a command in task %s: %w", name, err)
	}
	defer s.close()
	err = sendCall(conn, c, theirs)
	for _, f := range theirs {
		_ = f.Close() // init has its own
	}
	if err != nil {
		return -1, fmt.Errorf("run a command in task %s: %w", name, err)
	}
	return s.attend(ctx, conn)
}

// call is the order that init gets.
func (d *Driver) call(name string, spec runtime.TaskSpec, cmd runtime.Command) (c call, code int, err error) {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, says crypto/rand
	c = call{Args: cmd.Args, TTY: cmd.TTY, Mark: runtime.CommandMark + spec.Labels[runtime.LabelNode] + "/" + hex.EncodeToString(id[:])}
	o, err := d.surroundings(name, spec)
	if err != nil {
		return c, -1, err
	}
	c.Dir, c.User = o.Dir, o.User
	c.Env = append(o.Env, c.Mark)
	if cmd.TTY && spec.Env["TERM"] == "" {
		c.Env = append(c.Env, "TERM=xterm")
	}
	var unfit error
	if c.Command, unfit, err = searchCommand(cmd.Args[0], o.Dir, spec.Dirs.Local, o.Env); err == nil {
		return c, 0, nil
	}
	if unfit != nil {
		return c, codeUnfit, fmt.Errorf("%w: %w", err, runtime.ErrBadCommand)
	}
	return c, codeMissing, fmt.Errorf("%w: %w", err, runtime.ErrNoCommand)
}

// streams are the agent's ends of a command's streams.
type streams struct {
	cmd   runtime.Command
	in    *os.File
	out   []*os.File // one to read per writer
	to    []io.Writer
	tty   *os.File
	ended atomic.Bool
}

// openStreams makes pipes or a terminal. theirs are the command's ends.
func openStreams(cmd runtime.Command, owned bool, user *credential) (s *streams, theirs []*os.File, err error) {
	s = &streams{cmd: cmd}
	defer func() {
		if err != nil {
			s.close()
			for _, f := range theirs {
				_ = f.Close() // only made
			}
		}
	}()
	if cmd.TTY {
		master, slave, err := openTerminal()
		if err != nil {
			return s, nil, err
		}
		s.tty, s.in, s.out, s.to, theirs = master, master, []*os.File{master}, []io.Writer{cmd.Stdout}, []*os.File{slave}
		if owned && user != nil {
			err = slave.Chown(int(user.UID), int(user.GID)) // programs open /dev/tty anew
		}
		return s, theirs, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return s, theirs, err
	}
	theirs, s.in = append(theirs, r), w
	for _, to := range []io.Writer{cmd.Stdout, cmd.Stderr} {
		if r, w, err = os.Pipe(); err != nil {
			return s, theirs, err
		}
		theirs, s.out, s.to = append(theirs, w), append(s.out, r), append(s.to, to)
	}
	return s, theirs, nil
}

func (s *streams) close() {
	for _, f := range append(s.out, s.in) {
		if f != nil {
			_ = f.Close() // a terminal's twice
		}
	}
}

// attend copies the streams until the command has ended, or ctx has, which kills it.
func (s *streams) attend(ctx context.Context, conn *net.UnixConn) (int, error) {
	var input, output sync.WaitGroup
	defer input.Wait()
	if s.cmd.Stdin != nil {
		defer s.cmd.Stdin.Close()
		input.Go(s.feed)
	} else if s.tty == nil {
		_ = s.in.Close() // an empty one
	}
	over := make(chan struct{})
	if s.tty != nil && s.cmd.Resize != nil {
		input.Go(func() { resizes(s.tty, s.cmd.Resize, over) })
	}
	defer close(over)
	for i := range s.out {
		output.Go(func() { s.copyOut(s.out[i], s.to[i]) })
	}
	stop := context.AfterFunc(ctx, func() {
		_ = conn.CloseWrite() // init kills it
		_ = conn.SetReadDeadline(time.Now().Add(killedWithin))
	})
	defer stop()
	code, err := s.wait(conn)
	s.ended.Store(true)
	for _, f := range s.out {
		_ = f.SetReadDeadline(time.Now().Add(lingerFor)) // wakes who waits for what does not come any more
	}
	output.Wait()
	if ctx.Err() != nil {
		return code, context.Cause(ctx)
	}
	return code, err
}

// wait reads what init says.
func (s *streams) wait(conn *net.UnixConn) (int, error) {
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return codeTaskEnded, fmt.Errorf("the task has ended, and the command with it: %w", runtime.ErrNotRunning)
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			return -1, fmt.Errorf("understand init process: %w", err)
		}
		switch {
		case a.Missing:
			return codeMissing, fmt.Errorf("%s: %w", a.Error, runtime.ErrNoCommand)
		case a.Error != "":
			return codeUnfit, fmt.Errorf("%s: %w", a.Error, runtime.ErrBadCommand)
		case a.Ended:
			return a.Code, nil
		}
	}
}

// feed hands on what the command is to read, and the end of it.
func (s *streams) feed() {
	_, _ = io.Copy(s.in, s.cmd.Stdin) // a command that reads no more needs none
	if s.tty == nil {
		_ = s.in.Close() // for the command that is the end
		return
	}
	_, _ = s.tty.Write([]byte{4}) // ^D, which says the same on a terminal
}

// copyOut hands on what the command writes. Once it has ended, what it left behind and still writes is not waited for.
func (s *streams) copyOut(from *os.File, to io.Writer) {
	buf := make([]byte, 32<<10)
	for late := 0; late < maxLate; {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				to = io.Discard // nobody wants it; the command is not to hang
			}
		}
		if err != nil {
			return // the end, or nothing has come since the command ended
		}
		if s.ended.Load() {
			late += n
			_ = from.SetReadDeadline(time.Now().Add(lingerFor)) // the time that writing took does not count
		}
	}
}
