package exec

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// isolation is what a task's init process is started with.
type isolation struct {
	namespaces bool
	userns     bool // by an unprivileged user: a user namespace around them that maps this user to itself
}

func (m isolation) name() string {
	if m.namespaces {
		return IsolationNamespaces
	}
	return IsolationNone
}

// attributes are those of the init process. It gets its own session and nothing that ends with the agent.
func (m isolation) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if m.namespaces {
		a.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	}
	if m.userns {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		// Execution by another user than 0 drops what the new namespace gave; init needs it to mount, and lowers it again
		// before it starts the command.
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	return a
}

// probeIsolation finds out what works by trying: user 0 may be 0 in a user namespace only, and others may be allowed more than
// it seems, or less.
func (d *Driver) probeIsolation(want string) (isolation, error) {
	modes := []isolation{{namespaces: true}, {namespaces: true, userns: true}}
	if os.Geteuid() == 0 {
		modes = modes[:1]
	}
	switch want {
	case IsolationAuto:
		modes = append(modes, isolation{})
	case IsolationNone:
		modes = []isolation{{}}
	case IsolationNamespaces:
	default:
		return isolation{}, fmt.Errorf("unknown isolation %q: want %q, %q or empty", want, IsolationNamespaces, IsolationNone)
	}
	var err error
	for _, m := range modes {
		if err = d.tryIsolation(m); err == nil {
			return m, nil
		}
		d.log.Debug("isolation does not work here", "namespaces", m.namespaces, "userns", m.userns, "error", err)
	}
	return isolation{}, err
}

// tryIsolation starts an init process that sets everything up and starts nothing.
func (d *Driver) tryIsolation(m isolation) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	dir, err := os.Open(d.cfg.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	in, err := startInit(d.cfg.Exe, "probe", m, nil, dir, nil, nil, nil)
	if err != nil {
		return err
	}
	defer in.close()
	defer in.kill(ctx)
	if err := in.ready(ctx); err != nil {
		return err
	}
	if err := in.send(ctx, order{Probe: true, Namespaces: m.namespaces, Hide: d.cfg.DataDir}); err != nil {
		return err
	}
	_, err = in.report(ctx)
	return err
}
