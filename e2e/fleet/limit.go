package fleet

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// RaiseFileLimit lets this process have as many files open as the system allows: every agent has its own connections.
func RaiseFileLimit(want uint64) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", lim.Max, err)
	}
	if lim.Cur < want {
		return fmt.Errorf("this process may have %d files open and needs %d: raise it with ulimit -n", lim.Cur, want)
	}
	return nil
}
