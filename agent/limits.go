package agent

import (
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// raiseFileLimit raises the number of files that the agent may have open to what the system allows: every watcher and every
// peer holds a socket.
func raiseFileLimit(log hclog.Logger) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		log.Warn("cannot read the limit of open files", "error", err)
		return
	}
	if lim.Cur >= lim.Max {
		return
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		log.Warn("cannot raise the limit of open files", "limit", lim.Max, "error", err)
	}
}
