package exec

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exit codes of the init process itself, for those who read process tables; the task's own code is in the exit file.
const (
	codeAborted = 125 // the agent died before it recorded the task, or the task could not be started
	codeMisused = 2
)

// InitMain is the program `drover exec-init`: the first process of a task. args are the words after "exec-init". It returns the
// exit code; main must call os.Exit with it at once, and must have started nothing before.
//
// It is not meant for people: its descriptors 3, 4 and 5 come from the driver.
func InitMain(args []string) int {
	if os.Getenv(initMarker) == "" || len(args) != 1 {
		fmt.Fprintln(os.Stderr, "drover exec-init is started by the agent, not by hand")
		return codeMisused
	}
	// Namespaces are joined by thread, and a parent-death signal is sent when the thread that started the child ends: this one
	// does everything.
	runtime.LockOSThread()
	closeOnExec()
	if name, err := unix.BytePtrFromString("drover-init"); err == nil { // in process tables, instead of "exe"
		_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
	in := &initMain{reports: os.NewFile(reportFD, "reports")}
	// A report to an agent that has died must not end the init. Caught and not ignored: what is ignored stays so in the task.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	in.say(report{})
	o, err := readOrder()
	if err != nil {
		return in.abort("the agent died before it had recorded the task", false)
	}
	if err := in.setUp(o); err != nil {
		return in.abort(err.Error(), false)
	}
	if o.Probe {
		in.say(report{})
		return 0
	}
	return in.run(o)
}

// closeOnExec keeps all descriptors but the first three from the command: ours, and any that the agent was started with.
func closeOnExec() {
	if unix.CloseRange(orderFD, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, _ := os.ReadDir("/proc/self/fd") // Linux before 5.11
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= orderFD {
			unix.CloseOnExec(fd)
		}
	}
}

// initMain is the state of the init process.
type initMain struct {
	reports *os.File
	command int // PID of the command

	commands commands // further ones
}

func (in *initMain) say(r report) {
	data, _ := json.Marshal(r)
	_, _ = in.reports.Write(append(data, '\n')) // the agent may have died: the files say the same
}

// abort leaves word that the command never ran.
func (in *initMain) abort(reason string, permanent bool) int {
	in.leave(exit{Aborted: true, Reason: reason, At: time.Now().UnixNano()})
	in.say(report{Error: reason, Permanent: permanent})
	return codeAborted
}

// leave writes the exit file, into the blocks that were set aside for it. That fails only when the directory has been removed.
func (in *initMain) leave(x exit) {
	data, _ := json.Marshal(x)
	_ = writeFileAt(dirFD, exitFile, exitTemp, data, inPlace)
}

// readOrder waits for the order and the go byte. An error means that the agent has died in between.
func readOrder() (order, error) {
	var o order
	r := bufio.NewReader(os.NewFile(orderFD, "orders"))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return o, err
	}
	if b, err := r.ReadByte(); err != nil || b != goByte {
		return o, errors.Join(err, errors.New("no go"))
	}
	return o, json.Unmarshal(line, &o)
}

// run starts the command, hands signals on to it, reaps whatever dies, and records how the command ended.
func (in *initMain) run(o order) int {
	forwarded := make(chan os.Signal, 16)
	died := make(chan os.Signal, 1) // apart and of length one: no death can be missed for want of room
	signal.Notify(forwarded, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	signal.Notify(died, syscall.SIGCHLD)
	if err := in.start(o); err != nil {
		return in.abort(fmt.Sprintf("execute %s: %v", o.Command, explain(err)), permanent(err))
	}
	data, _ := json.Marshal(started{PID: in.command})
	_ = writeFileAt(dirFD, startedFile, startedFile+".tmp", data, passing)
	in.say(report{PID: in.command})
	// When the cgroup is full the kernel shall take the command, not its witness. Only the machine's root may ask for that.
	_ = write("/proc/self/oom_score_adj", "-1000")
	in.listen()
	for {
		select {
		case s := <-in.commands.calls:
			in.execute(s)
		case s := <-in.commands.drops:
			in.drop(s)
		case s := <-forwarded:
			_ = syscall.Kill(in.command, s.(syscall.Signal))
		case <-died:
			if x, ended := in.reap(); ended {
				in.leave(x)
				if !o.Namespaces {
					in.killOrphans()
				}
				return x.Code
			}
		}
	}
}

// start executes the command.
func (in *initMain) start(o order) error {
	attr := &syscall.ProcAttr{
		Env: o.Env, Dir: o.Dir, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if u := o.User; u != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	pid, err := syscall.ForkExec(o.Command, o.Args, attr)
	in.command = pid
	return err
}

// reap takes all dead children off the kernel's table and reports whether the command was among them.
func (in *initMain) reap() (x exit, ended bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return x, ended
		}
		if pid != in.command {
			in.ended(pid, ws)
			continue
		}
		ended = true
		x = exit{Code: codeOf(ws), At: time.Now().UnixNano()}
		if ws.Signaled() {
			x.Signal = int(ws.Signal())
		}
	}
}

// killOrphans ends what the command left behind: without a PID namespace the kernel does not. All of it are children of this
// process, the reaper.
func (in *initMain) killOrphans() {
	for {
		killTree(os.Getpid())
		for {
			_, err := syscall.Wait4(-1, nil, 0, nil)
			if errors.Is(err, syscall.ECHILD) {
				return
			}
			if err == nil {
				break // one is gone; look again for what it left
			}
		}
	}
}

// permanent reports whether executing the same file again would fail the same way.
func permanent(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC, syscall.ENOTDIR, syscall.ELOOP,
		syscall.E2BIG, syscall.EPERM, syscall.EINVAL, syscall.EISDIR, syscall.ELIBBAD} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// explain adds to an error of execve(2) what it usually means.
func explain(err error) string {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return "not a program of this machine, and no \"#!\" in its first line"
	case errors.Is(err, syscall.ENOENT):
		return "it, its interpreter or its loader does not exist, or the working directory does not"
	case errors.Is(err, syscall.EACCES):
		return "not executable by the task's user, or a directory on the way is closed to it"
	case errors.Is(err, syscall.E2BIG):
		return "arguments and environment are too long"
	}
	return err.Error()
}
