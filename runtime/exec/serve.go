package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/drover-io/drover/runtime"
)

// maxConns bounds the connections that init serves at a time; the Runner bounds the commands of the whole machine below that.
const maxConns = 64

// session is a command that init runs by order, from the connection's side and from the main loop's.
type session struct {
	call call
	fds  []int
	conn *net.UnixConn
	done chan struct{} // closed when it has ended, or could not be started

	// The main loop's until done is closed.
	pid    int  // 0 until it runs
	killed bool // because its connection has ended
}

// commands is what the connections and init's main loop tell each other. Only the main loop starts, reaps and kills.
type commands struct {
	calls   chan *session
	drops   chan *session // their connections have ended
	running map[int]*session
	wg      sync.WaitGroup // ends with the process
}

// listen takes orders at the control socket.
func (in *initMain) listen() {
	in.commands = commands{calls: make(chan *session), drops: make(chan *session), running: map[int]*session{}}
	f := os.NewFile(controlFD, controlFile)
	l, err := net.FileListener(f)
	_ = f.Close() // the listener has its own
	if err != nil {
		return // there is none: the task runs without
	}
	in.commands.wg.Go(func() {
		slots := make(chan struct{}, maxConns)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			slots <- struct{}{}
			in.commands.wg.Go(func() {
				defer func() { <-slots }()
				in.commands.serve(conn.(*net.UnixConn))
			})
		}
	})
}

// serve hands one order to the main loop, and its end.
func (c *commands) serve(conn *net.UnixConn) {
	defer conn.Close()
	order, fds, err := readCall(conn)
	if err != nil {
		closeAll(fds)
		tell(conn, answer{Error: err.Error()})
		return
	}
	s := &session{call: order, fds: fds, conn: conn, done: make(chan struct{})}
	c.calls <- s
	_, _ = io.Copy(io.Discard, conn) // nothing comes but the end
	c.drops <- s
	<-s.done
	if s.killed {
		_ = runtime.KillMarked(context.Background(), s.call.Mark) // what hangs in the kernel dies later
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}

// tell says something of a command. When nobody listens any more the connection has ended, which is told elsewhere.
func tell(conn *net.UnixConn, a answer) {
	data, _ := json.Marshal(a)
	_, _ = conn.Write(append(data, '\n'))
}

// execute starts a command by order.
func (in *initMain) execute(s *session) {
	defer closeAll(s.fds)
	files := s.fds
	if s.call.TTY && len(files) == 1 {
		files = []int{files[0], files[0], files[0]}
	}
	attr := &syscall.ProcAttr{Env: s.call.Env, Dir: s.call.Dir, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: s.call.TTY, Pdeathsig: syscall.SIGKILL}}
	for _, fd := range files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	if u := s.call.User; u != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	_ = write("/proc/self/oom_score_adj", "0") // what protects this process is not for the command
	pid, err := syscall.ForkExec(s.call.Command, s.call.Args, attr)
	_ = write("/proc/self/oom_score_adj", "-1000")
	if err != nil {
		tell(s.conn, answer{Error: fmt.Sprintf("execute %s: %v", s.call.Command, explain(err)), Missing: errors.Is(err, syscall.ENOENT)})
		close(s.done)
		return
	}
	s.pid = pid
	in.commands.running[pid] = s
	tell(s.conn, answer{PID: pid})
}

// ended tells how a command ended that was started by order.
func (in *initMain) ended(pid int, ws syscall.WaitStatus) {
	s := in.commands.running[pid]
	if s == nil {
		return
	}
	delete(in.commands.running, pid)
	tell(s.conn, answer{Ended: true, Code: codeOf(ws)})
	close(s.done)
}

// codeOf is an exit status as a shell tells it.
func codeOf(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// drop kills a command whose orderer has gone, and what came of it.
func (in *initMain) drop(s *session) {
	if s.pid == 0 || in.commands.running[s.pid] == nil {
		return // it has ended; what it left running in the task is the task's now
	}
	_ = syscall.Kill(s.pid, syscall.SIGSTOP) // it makes no more children
	killTree(s.pid)
	_ = syscall.Kill(s.pid, syscall.SIGKILL)
	s.killed = true
}
