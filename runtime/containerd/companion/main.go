package companion

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// InitPath is where the init stands inside a container. /dev is the container's own, so the image's files stay as they are.
const InitPath = "/dev/drover-init"

// CopyArg is the first argument of the copier; the second is the file.
const CopyArg = "drover-log-copy"

// Main runs the init or the copier when the arguments (os.Args) ask for one, and says with which code to exit. handled is false for
// every other command line.
func Main(args []string) (handled bool, code int) {
	switch {
	case len(args) == 0:
		return false, 0
	case args[0] == InitPath:
		return true, runInit(args[1:])
	case len(args) == 3 && filepath.Base(args[0]) != CopyArg && args[1] == CopyArg:
		return true, copyLogs(args[2])
	}
	return false, 0
}

// Files that containerd gives a logger, see its documentation of binary:// logs.
const (
	outputFD = 3
	readyFD  = 5
)

// copyLogs appends what a terminal shows to a file until the terminal is closed.
func copyLogs(path string) int {
	// A signal to the group of the daemon is not for us: what the task still says would be lost.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "drover: copy a terminal's output:", err)
		return 1
	}
	ready := os.NewFile(readyFD, "ready")
	_, _ = ready.Write([]byte{1}) // newer daemons want a byte, older ones only the end
	_ = ready.Close()
	out := os.NewFile(outputFD, "terminal")
	for {
		_, err := io.Copy(f, out)
		if err == nil {
			return 0
		}
		// The disk is full, for instance. The task must not hang on a terminal that nobody reads.
		if _, err := io.Copy(io.Discard, io.LimitReader(out, 64<<10)); err != nil {
			return 1
		}
	}
}
