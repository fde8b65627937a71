package exec

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

// openTerminal makes a pseudo-terminal. The master can be read with deadlines.
func openTerminal() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	defer func() {
		if err != nil {
			_ = master.Close() // only made
		}
	}()
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("find the terminal's name: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	name := "/dev/pts/" + strconv.Itoa(n)
	// Not by os.OpenFile, which makes it non-blocking: the command would get it so.
	slaveFD, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open the terminal %s: %w", name, err)
	}
	return master, os.NewFile(uintptr(slaveFD), name), nil
}

// resizes gives the terminal the sizes that come until over is closed.
func resizes(tty *os.File, sizes <-chan runtime.TTYSize, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case size, open := <-sizes:
			if !open {
				return
			}
			conn, err := tty.SyscallConn()
			if err != nil {
				return // closed
			}
			_ = conn.Control(func(fd uintptr) { // a size that does not fit changes nothing
				_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Rows), Col: uint16(size.Columns)})
			})
		}
	}
}
