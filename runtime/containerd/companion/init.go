package companion

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit codes of a command that could not be run, as shells have them.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
)

// runInit starts a command, passes signals on to it, reaps everything that dies below, and ends as the command does.
func runInit(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "drover-init: no command")
		return exitNotFound
	}
	signals := make(chan os.Signal, 64)
	died := make(chan os.Signal, 1) // of length one: no death can be missed for want of room
	signal.Notify(signals)
	signal.Notify(died, syscall.SIGCHLD)
	if os.Getpid() != 1 { // in the machine's PID namespace; orphans come to us all the same
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	pid, code, err := startCommand(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "drover-init:", err)
		return code
	}
	for {
		select {
		case s := <-signals:
			if pass(s) {
				_ = syscall.Kill(pid, s.(syscall.Signal))
			}
		case <-died:
			if code, ended := reap(pid); ended {
				return code
			}
		}
	}
}

// pass tells the signals for the command from those for us.
func pass(s os.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU: // SIGURG is how Go's threads interrupt each other
		return false
	}
	return true
}

// startCommand starts the command in a process group of its own, in front of the terminal when there is one.
func startCommand(args []string) (pid, code int, err error) {
	path, err := exec.LookPath(args[0])
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return 0, exitNotFound, fmt.Errorf("command %q not found in the image", args[0])
	}
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return 0, exitNotRunnable, fmt.Errorf("command %q cannot be run: %w", args[0], err)
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		attr.Sys.Foreground, attr.Sys.Ctty = true, 0
	}
	pid, err = syscall.ForkExec(path, args, attr)
	if errors.Is(err, syscall.ENOENT) {
		return 0, exitNotFound, fmt.Errorf("command %q: it, its interpreter or its loader does not exist in the image", args[0])
	}
	if err != nil {
		return 0, exitNotRunnable, fmt.Errorf("command %q cannot be run: %w", args[0], err)
	}
	return pid, 0, nil
}

// reap takes all dead children off the kernel's table and reports whether the command was among them.
func reap(command int) (code int, ended bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return code, ended
		}
		if pid != command {
			continue
		}
		ended, code = true, ws.ExitStatus()
		if ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
	}
}
