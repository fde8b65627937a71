package herd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

const (
	holdArg   = "herd-hold" // argv[1] of a machine's init
	insideEnv = "DROVER_HERD_INSIDE"
)

// ErrNoNamespaces says that the kernel does not let this user make namespaces.
var ErrNoNamespaces = errors.New("namespaces are not available")

// Main must be called first by a program that uses the package. It returns at once in the program proper, already inside the
// bridge's namespace; in the outer program it runs the inner one and exits with its code. wantInside false skips the
// namespace: for sub-commands that need none.
func Main(wantInside bool) error {
	if len(os.Args) > 1 && os.Args[1] == holdArg {
		os.Exit(hold())
	}
	if !wantInside || os.Getenv(insideEnv) != "" {
		return nil
	}
	code, err := runInside()
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

// Inside reports whether this process runs in the bridge's namespace.
func Inside() bool { return os.Getenv(insideEnv) != "" }

func runInside() (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", insideEnv, os.Getuid()))
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM) // the inner program gets the terminal's too, and cleans up
	defer signal.Stop(interrupts)
	runtime.LockOSThread() // the death signal is the starting thread's
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("%w: start inside a network namespace: %w", ErrNoNamespaces, err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// OuterUID is the user who started the program, also inside a user namespace.
func OuterUID() int {
	var uid int
	if _, err := fmt.Sscan(os.Getenv(insideEnv), &uid); err != nil {
		return os.Getuid()
	}
	return uid
}
