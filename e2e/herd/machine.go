package herd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/drover-io/drover/internal/waitfor"
)

// Machine is one machine of a herd. Its methods may be called from one goroutine at a time.
type Machine struct {
	Name string
	IP   net.IP
	Dir  string // its disk: survives a death and a reboot

	number byte // of its link, the last of its first address
	wire   *Wire
	shared bool          // shares the host's mounts and processes, so that the host's containerd can serve it
	local  *localMachine // no namespaces at all: processes of this machine on its loopback interface

	mu   sync.Mutex
	init *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// NewMachine describes a machine; Boot starts it. shared gives it a network namespace only: the host's containerd can then
// join its containers to it.
func (w *Wire) NewMachine(name, dir string, shared bool) (*Machine, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ip := w.nextIP()
	return &Machine{Name: name, IP: ip, Dir: dir, number: ip.To4()[3], wire: w, shared: shared}, nil
}

// Boot starts the machine's init with a new boot ID and plugs its network in.
func (m *Machine) Boot() error {
	if m.local != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	args := []string{holdArg}
	attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNET}
	if !m.shared {
		bootID := filepath.Join(m.Dir, "boot_id")
		if err := os.WriteFile(bootID, []byte(uuid.NewString()+"\n"), 0o644); err != nil {
			return err
		}
		args = append(args, bootID)
		attr.Cloneflags |= syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: boot machine %s: %w", ErrNoNamespaces, m.Name, err)
	}
	m.init, m.in, m.out = cmd, in, bufio.NewScanner(out)
	if err := m.wire.plug(m, cmd.Process.Pid); err != nil {
		return fmt.Errorf("plug in machine %s: %w", m.Name, err)
	}
	return nil
}

// InitPID is the machine's init in the host's numbering, for nsenter; 0 while it is off.
func (m *Machine) InitPID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.local != nil {
		return m.local.first()
	}
	if m.init == nil {
		return 0
	}
	return m.init.Process.Pid
}

// ask sends one request to the machine's init.
func (m *Machine) ask(q request) (reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.local != nil {
		return m.local.serve(q)
	}
	if m.init == nil {
		return reply{}, fmt.Errorf("machine %s is off", m.Name)
	}
	line, err := json.Marshal(q)
	if err != nil {
		return reply{}, err
	}
	if _, err := m.in.Write(append(line, '\n')); err != nil {
		return reply{}, fmt.Errorf("ask machine %s: %w", m.Name, err)
	}
	if !m.out.Scan() {
		return reply{}, fmt.Errorf("ask machine %s: its init has ended: %w", m.Name, io.ErrUnexpectedEOF)
	}
	var r reply
	if err := json.Unmarshal(m.out.Bytes(), &r); err != nil {
		return reply{}, err
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s on machine %s: %s", q.Op, m.Name, r.Error)
	}
	return r, nil
}

// Start runs a program on the machine, its output appended to <Dir>/<log>, and returns its PID in the machine's numbering.
func (m *Machine) Start(log string, env []string, args ...string) (int, error) {
	r, err := m.ask(request{Op: "start", Args: args, Env: append(os.Environ(), env...), Log: filepath.Join(m.Dir, log)})
	return r.PID, err
}

// Run runs a program on the machine, waits for its end and returns its output. An exit code other than 0 is an error.
func (m *Machine) Run(ctx context.Context, args ...string) (string, error) {
	out, err := os.CreateTemp(m.Dir, "run-*.log")
	if err != nil {
		return "", err
	}
	defer closeAll(out)
	defer func() { _ = os.Remove(out.Name()) }() // on the machine's disk, which goes with it
	pid, err := m.Start(filepath.Base(out.Name()), nil, args...)
	if err != nil {
		return "", err
	}
	var code int
	_, err = waitfor.True(ctx, time.Minute, 5*time.Millisecond, func(context.Context) error {
		alive, c, err := m.Status(pid)
		if code = c; err == nil && alive {
			err = fmt.Errorf("%s runs on", args[0])
		}
		return err
	})
	text, readErr := os.ReadFile(out.Name())
	if err := errors.Join(err, readErr); err != nil {
		return string(text), err
	}
	if code != 0 {
		return string(text), fmt.Errorf("%s on machine %s: exit code %d: %s", strings.Join(args, " "), m.Name, code, text)
	}
	return string(text), nil
}

// Path is a file of the machine as this program sees it. The machine must be on.
func (m *Machine) Path(path string) string {
	if m.local != nil {
		return path
	}
	return filepath.Join(fmt.Sprintf("/proc/%d/root", m.InitPID()), path)
}

// Signal sends a signal to a process of the machine.
func (m *Machine) Signal(pid int, sig syscall.Signal) error {
	_, err := m.ask(request{Op: "signal", PID: pid, Signal: int(sig)})
	return err
}

// Status says whether a started process is alive, and its exit code when it is not.
func (m *Machine) Status(pid int) (alive bool, code int, err error) {
	r, err := m.ask(request{Op: "status", PID: pid})
	return r.Alive, r.Code, err
}

// CutLink unplugs the machine from the bridge; what runs on it runs on.
func (m *Machine) CutLink() error { return m.wire.setLink(m, false) }

// HealLink plugs it in again.
func (m *Machine) HealLink() error { return m.wire.setLink(m, true) }

// Readdress gives a running machine another address; what runs on it runs on.
func (m *Machine) Readdress() error {
	pid := m.InitPID()
	if m.local != nil || pid == 0 {
		return fmt.Errorf("machine %s is off, or has no network of its own", m.Name)
	}
	ip := m.wire.nextIP()
	if err := readdress(pid, m.IP, ip); err != nil {
		return fmt.Errorf("give machine %s the address %s: %w", m.Name, ip, err)
	}
	m.IP = ip
	return nil
}

// Die cuts the link and then kills everything on the machine: agent, containerd, shims, tasks.
func (m *Machine) Die() error {
	if m.local == nil {
		if err := m.CutLink(); err != nil {
			return err
		}
	}
	return m.PowerOff()
}

// PowerOff kills everything on the machine. Boot starts it again on the same disk.
func (m *Machine) PowerOff() error {
	var errs []string
	if m.shared || m.local != nil {
		for _, p := range m.Processes() { // no process namespace: its network namespace says what is the machine's
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				errs = append(errs, err.Error())
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.init == nil {
		return nil
	}
	if err := m.init.Process.Kill(); err != nil {
		errs = append(errs, err.Error())
	}
	closeAll(m.in)
	_ = m.init.Wait() // killed: its exit status says only that
	m.init = nil
	if errs != nil {
		return fmt.Errorf("power off machine %s: %s", m.Name, strings.Join(errs, "; "))
	}
	return nil
}

// keep lets the machine outlive this program.
func (m *Machine) keep() error {
	_, err := m.ask(request{Op: "keep"})
	return err
}
