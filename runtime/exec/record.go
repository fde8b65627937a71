package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

// Files of a task's directory.
const (
	recordFile  = "state.json"
	startedFile = "started"
	exitFile    = "exit"
	exitTemp    = "exit.tmp" // made and filled with blanks at the start, so that a full disk cannot lose the exit code
)

// nameSeparator stands between allocation and task in a directory's name. Neither may hold it.
const nameSeparator = "~"

// record is state.json: how to find the task again.
type record struct {
	ID         runtime.TaskID
	Labels     map[string]string
	BootID     string // of the kernel
	Cgroup     string `json:",omitempty"`
	Namespaces bool   // the init process is PID 1 of its own namespace, and all die with it
	PID        int    // of the init process; 0 until there is one
	StartTime  uint64 // of the init process, clock ticks since boot: field 22 of /proc/PID/stat
	StartedAt  int64  // the node's wall clock, nanoseconds since the Unix epoch
}

// started is the file of that name.
type started struct {
	PID int // of the command, as init sees it
}

// exit is the file of that name.
type exit struct {
	Code    int
	Signal  int
	At      int64  // nanoseconds since the Unix epoch
	Aborted bool   `json:",omitempty"` // the command was never started
	Reason  string `json:",omitempty"` // why not
}

// task is a record with the directory that it was read from.
type task struct {
	dir string
	rec record
}

// taskName is the directory's name, which also marks the processes of the task.
func taskName(id runtime.TaskID) (string, error) {
	for _, s := range []string{id.AllocID, id.Task} {
		if s == "" || len(s) > 128 || strings.ContainsAny(s, "/\x00"+nameSeparator) {
			return "", fmt.Errorf("bad task ID %q/%q: %w", id.AllocID, id.Task, runtime.ErrNotRetryable)
		}
	}
	return id.AllocID + nameSeparator + id.Task, nil
}

// load reads a task's record. ErrNotFound: there is none, it is torn (power was cut while it was written), or it is from
// another boot.
func (d *Driver) load(name string) (*task, error) {
	t := &task{dir: d.dir(name)}
	data, err := os.ReadFile(filepath.Join(t.dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, runtime.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &t.rec); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", t.dir, err, runtime.ErrNotFound)
	}
	if t.rec.BootID != d.boot {
		return nil, fmt.Errorf("the machine was rebooted: %w", runtime.ErrNotFound)
	}
	return t, nil
}

// save writes the record.
func (t *task) save(how int) error {
	data, err := json.Marshal(t.rec)
	if err != nil {
		return err
	}
	dir, err := os.Open(t.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return writeFileAt(int(dir.Fd()), recordFile, recordFile+".tmp", data, how)
}

// ran reports whether the command was, or may have been, started.
func (t *task) ran() bool {
	if t.rec.PID == 0 {
		return false
	}
	x, ok := t.exit()
	return !ok || !x.Aborted
}

// exit reads the exit file; false when there is none.
func (t *task) exit() (x exit, ok bool) {
	data, err := os.ReadFile(filepath.Join(t.dir, exitFile))
	return x, err == nil && json.Unmarshal(data, &x) == nil
}

// started reads the file of that name; false when there is none.
func (t *task) started() (s started, ok bool) {
	data, err := os.ReadFile(filepath.Join(t.dir, startedFile))
	return s, err == nil && json.Unmarshal(data, &s) == nil
}

// process opens the task's init process; nil when it has ended.
func (t *task) process() *process {
	if t.rec.PID == 0 {
		return nil
	}
	return openProcess(t.rec.PID, t.rec.StartTime)
}

// hostPID is the command's PID as the agent sees it; 0 when it has none (any more).
func (t *task) hostPID() int {
	s, ok := t.started()
	if !ok {
		return 0
	}
	for _, pid := range children(t.rec.PID) {
		if innerPID(pid) == s.PID {
			return pid
		}
	}
	return 0
}

// command opens the task's first process; nil when it has ended.
func (t *task) command() *process {
	pid := t.hostPID()
	if pid == 0 {
		return nil
	}
	st, err := readStat(pid)
	if err != nil {
		return nil
	}
	p := openProcess(pid, st.start)
	if p != nil && t.hostPID() != pid { // the number went to another process before it was opened
		p.close()
		return nil
	}
	return p
}

// How writeFileAt writes.
const (
	passing = os.O_TRUNC                // need not survive a power cut
	durable = os.O_TRUNC | unix.O_DSYNC // must
	inPlace = unix.O_DSYNC              // must, and the temporary file has its blocks already
)

// writeFileAt replaces the file name in the directory dirfd: write to temp, rename. By descriptor it works in init, whatever
// has been mounted over the directory's path.
func writeFileAt(dirfd int, name, temp string, data []byte, how int) error {
	fd, err := unix.Openat(dirfd, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC|how, 0o600)
	if err != nil {
		return fmt.Errorf("open %s: %w", temp, err)
	}
	f := os.NewFile(uintptr(fd), temp)
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := unix.Renameat(dirfd, temp, dirfd, name); err != nil {
		return fmt.Errorf("rename %s: %w", temp, err)
	}
	if how&unix.O_DSYNC == 0 {
		return nil
	}
	return unix.Fsync(dirfd)
}

// result turns the exit file into what Wait returns.
func (x exit) result(oom bool) runtime.Exit {
	return runtime.Exit{Code: x.Code, Signal: x.Signal, OOM: oom, At: time.Unix(0, x.At)}
}
