package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime/containerd/exitnote"
)

const (
	shimName     = "containerd-shim-runc-v2"
	startTimeout = time.Minute // a daemon with a thousand shims needs 20 s
	maxDaemonLog = 8 << 20
)

// DaemonConfig says how to run a daemon of our own.
type DaemonConfig struct {
	Exe    string // our binary
	Dir    string // where images, snapshots, the log and the pid file live
	NoSync bool   // faster, and loses what was done last when the machine dies: for tests
	Logger hclog.Logger
}

// Daemon is a containerd of our own: our binary, started again in a session of its own. It outlives the agent and is found again by
// its socket and pid file. Nothing watches it; whoever uses it calls Ensure first.
type Daemon struct {
	cfg   DaemonConfig
	state string // on a file system that a reboot empties
	mu    sync.Mutex
	ready int // the process that answered
}

// NewDaemon describes a daemon; nothing is started.
func NewDaemon(cfg DaemonConfig) *Daemon {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Daemon{cfg: cfg, state: stateDir(cfg.Dir)}
}

// stateDir is short whatever the data directory's name is, because a socket's path has at most 107 bytes.
func stateDir(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join("/run/drover", hex.EncodeToString(sum[:5]))
}

// Address is the daemon's socket.
func (d *Daemon) Address() string { return filepath.Join(d.state, "containerd.sock") }

// ExitsDir is where our shims note how containers ended.
func (d *Daemon) ExitsDir() string { return exitsDir(d.Address()) }

// exitsDir is beside the socket, so that the driver finds it with nothing but the address.
func exitsDir(address string) string { return filepath.Join(filepath.Dir(address), "exits") }

// LogFile is where the daemon's log goes.
func (d *Daemon) LogFile() string { return filepath.Join(d.cfg.Dir, "containerd.log") }

func (d *Daemon) pidFile() string { return filepath.Join(d.cfg.Dir, "containerd.pid") }

// PID is the process of the running daemon, 0 when there is none.
func (d *Daemon) PID() int {
	b, err := os.ReadFile(d.pidFile())
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) != 3 {
		return 0
	}
	if boot, err := readBootID(); err != nil || boot != f[2] {
		return 0
	}
	pid, err := strconv.Atoi(f[0])
	if err != nil || pid <= 1 {
		return 0
	}
	start, state, err := processStart(pid)
	if err != nil || strconv.FormatUint(start, 10) != f[1] {
		return 0
	}
	if state == 'Z' { // it is our child and died: nobody else reaps it
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		return 0
	}
	return pid
}

// Ensure returns when the daemon runs and answers. It starts one when there is none. waited is true when it was not there at once.
func (d *Daemon) Ensure(ctx context.Context) (waited bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if pid := d.PID(); pid != 0 && (pid == d.ready || listens(d.Address())) {
		d.ready = pid
		return false, nil
	}
	if err := d.startOnce(ctx); err != nil {
		return true, fmt.Errorf("start our own containerd: %w", err)
	}
	return true, d.await(ctx)
}

// startOnce starts the daemon unless it runs. A lock file keeps others who look after the same daemon from doing it too: the second
// one would wait for ever for the database of the first.
func (d *Daemon) startOnce(ctx context.Context) error {
	if err := os.MkdirAll(d.cfg.Dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(d.cfg.Dir, "containerd.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // and unlock
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
	}
	if d.PID() != 0 {
		return nil
	}
	return d.start()
}

// await waits until the daemon answers, and reads its log aloud when it died instead.
func (d *Daemon) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if listens(d.Address()) && answers(ctx, d.Address()) {
			return nil
		}
		if d.PID() == 0 {
			return fmt.Errorf("our own containerd ended at once; its log %s ends with: %s", d.LogFile(), lastLine(d.LogFile()))
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("our own containerd does not answer at %s, see %s: %w", d.Address(), d.LogFile(), err)
		}
	}
}

func answers(ctx context.Context, address string) bool {
	cl, err := newClient(address)
	if err != nil {
		return false
	}
	_, err = cl.Version(ctx)
	return errors.Join(err, cl.Close()) == nil
}

func (d *Daemon) start() error {
	bin := filepath.Join(d.cfg.Dir, "bin")
	for _, dir := range []string{d.cfg.Dir, bin, filepath.Join(d.cfg.Dir, "root"), d.state, d.ExitsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := replaceLink(d.cfg.Exe, filepath.Join(bin, shimName)); err != nil {
		return err
	}
	config := filepath.Join(d.cfg.Dir, "containerd.toml")
	if err := writeFile(config, d.config()); err != nil {
		return err
	}
	log, err := d.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.cfg.Exe, "containerd", "--config", config, "--root", filepath.Join(d.cfg.Dir, "root"),
		"--state", filepath.Join(d.state, "state"), "--address", d.Address(), "--log-level", "warn")
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.cfg.Dir, log, log
	cmd.Env = d.environment(os.Environ(), bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	boot, err := readBootID()
	if err == nil {
		err = d.writePID(pid, boot)
	}
	if err != nil {
		return errors.Join(err, cmd.Process.Kill(), ignoreState(cmd.Process.Wait()))
	}
	d.cfg.Logger.Info("started our own containerd", "pid", pid, "address", d.Address(), "log", d.LogFile())
	return cmd.Process.Release() // PID reaps it, should it die before the agent
}

func (d *Daemon) writePID(pid int, boot string) error {
	start, _, err := processStart(pid)
	if err != nil {
		return err
	}
	return writeFile(d.pidFile(), fmt.Sprintf("%d %d %s\n", pid, start, boot))
}

func ignoreState(_ *os.ProcessState, err error) error { return err }

// environment gives the daemon a PATH that finds our shim first and runc in the usual places, and keeps its heap small: it is idle
// most of the time, and so are its shims, which inherit this.
func (d *Daemon) environment(from []string, bin string) []string {
	path := bin
	env := []string{exitnote.DirEnv + "=" + d.ExitsDir()}
	goGC := "GOGC=50"
	for _, kv := range from {
		switch key, value, _ := strings.Cut(kv, "="); key {
		case "PATH":
			path += ":" + value
		case "GOGC":
			goGC = kv
		default:
			if !isAgentsOwn(key) {
				env = append(env, kv)
			}
		}
	}
	return append(env, goGC, "PATH="+path+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

// isAgentsOwn picks the variables that are meant for the agent: its settings and secrets, and what systemd told it.
func isAgentsOwn(key string) bool {
	for _, prefix := range []string{"DROVER_", "NOMAD_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// config is the daemon's whole configuration: the host's in /etc/containerd is another daemon's.
func (d *Daemon) config() string {
	text := "version = 3\n\n[plugins.'io.containerd.shim.v1.manager']\nsocket_dir = '" + filepath.Join(d.state, "s") + "'\n"
	if d.cfg.NoSync {
		text += "\n[plugins.'io.containerd.metadata.v1.bolt']\nno_sync = true\n"
	}
	return text
}

// openLog starts the log anew when it has grown.
func (d *Daemon) openLog() (*os.File, error) {
	if fi, err := os.Stat(d.LogFile()); err == nil && fi.Size() > maxDaemonLog {
		if err := os.Rename(d.LogFile(), d.LogFile()+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(d.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Stop ends the daemon: for tests and the demo. Its containers run on. An agent that stops does not call it.
func (d *Daemon) Stop(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	pid := d.PID()
	if pid == 0 {
		return nil
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("stop containerd process %d: %w", pid, err)
	}
	for d.PID() != 0 {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("wait for containerd process %d to end: %w", pid, err)
		}
	}
	return nil
}

// Purge removes the daemon's state directory, which only a stopped daemon without containers does not need.
func (d *Daemon) Purge() error {
	if pid := d.PID(); pid != 0 {
		return fmt.Errorf("remove state of containerd: process %d runs", pid)
	}
	return os.RemoveAll(d.state)
}

// processStart reads when a process started, in clock ticks since boot, and its state letter.
func processStart(pid int) (start uint64, state byte, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The command's name is in parentheses and may hold any character: count from the last one.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(f))
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return start, f[0][0], err
}

func replaceLink(target, path string) error {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
