package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// dataVersion is the format of the data directory that this agent writes.
const dataVersion = 1

// maxFloor is how much space is kept free at most: enough for the log to end what it began, for a snapshot, and for records of
// exits. Of a small disk it is a tenth.
const maxFloor = 256 << 20

// Files of the data directory. Others make directories beside them: see Path.
const (
	lockFile    = "lock"      // held by the agent, with its PID
	versionFile = "version"   // the number of the format
	nodeIDFile  = "node-id"   // written once: what node.json holds changes often, and an ID must not be lost with it
	nodeFile    = "node.json" // the rest of the Identity
)

// DataDir is an agent's data directory, locked against a second agent. Its methods may be called from any goroutine.
type DataDir struct {
	path string
	lock *os.File

	mu sync.Mutex
	id Identity

	space   sync.Mutex
	askedAt time.Time // for the free space; the zero value for never
	full    error     // what came of it
}

// OpenDataDir makes the directory if need be (mode 0700: raft's log holds what jobs hold), locks it, and reads who this agent is.
// The boot counter is raised, on disk too, before it returns.
func OpenDataDir(path string) (*DataDir, error) {
	d, err := openDataDir(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", path, err)
	}
	return d, nil
}

func openDataDir(path string) (*DataDir, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("the path is not absolute")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	d := &DataDir{path: path}
	var err error
	if d.lock, err = lockDir(d.Path(lockFile)); err != nil {
		return nil, err
	}
	if err := d.begin(); err != nil {
		return nil, errors.Join(err, d.lock.Close())
	}
	return d, nil
}

// begin reads, and raises the boot counter.
func (d *DataDir) begin() error {
	if err := d.checkVersion(); err != nil {
		return err
	}
	id, err := d.readIdentity()
	if err != nil {
		return err
	}
	boot := kernelBootID()
	id.Rebooted = id.BootID != "" && boot != "" && id.BootID != boot
	id.Boot, id.BootID = id.Boot+1, boot
	if err := d.writeIdentity(id); err != nil {
		return err
	}
	d.id = id
	return nil
}

// Path is a file or directory in the data directory. It is not made.
func (d *DataDir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Identity is who this agent is, as last remembered.
func (d *DataDir) Identity() Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.id
}

// Remember changes the identity, durably before it returns. On an error nothing is changed in memory; on disk the old or the new
// one stands, never a part.
func (d *DataDir) Remember(change func(id *Identity)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.id
	change(&id)
	if id == d.id {
		return nil
	}
	if err := d.writeIdentity(id); err != nil {
		return fmt.Errorf("write data directory %s: %w", d.path, err)
	}
	d.id = id
	return nil
}

// Forget removes the identity, so that the next start makes it anew. The agent must not go on.
func (d *DataDir) Forget() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, name := range []string{nodeFile, nodeIDFile} {
		if err := os.Remove(d.Path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close unlocks the directory.
func (d *DataDir) Close() error {
	err := d.lock.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// spaceEvery is how often the file system is asked for its free space at most. In that time the fastest disks fill a part of maxFloor;
// asking for each write would be a fortieth of what a leader has to do for it.
const spaceEvery = 100 * time.Millisecond

// Writable says why nothing more should be written here; nil when there is room. What is kept free is for what must be written all
// the same: an error from the disk in the middle of raft's log is worse than a refused job.
func (d *DataDir) Writable() error {
	d.space.Lock()
	defer d.space.Unlock()
	if d.askedAt.IsZero() || time.Since(d.askedAt) >= spaceEvery {
		d.askedAt, d.full = time.Now(), d.measure()
	}
	return d.full
}

func (d *DataDir) measure() error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.path, &s); err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", d.path, err)
	}
	size := uint64(s.Bsize)
	return checkSpace(d.path, s.Bavail*size, s.Blocks*size, s.Ffree, s.Files)
}

func checkSpace(path string, free, total, freeFiles, files uint64) error {
	floor := min(maxFloor, total/10)
	switch {
	case free < floor:
		return fmt.Errorf("the disk of %s is nearly full: %d MiB are free, %d are kept for emergencies", path, free>>20, floor>>20)
	case files > 0 && freeFiles < min(1000, files/10):
		return fmt.Errorf("the disk of %s is nearly full: it has room for %d more files", path, freeFiles)
	}
	return nil
}

// lockDir takes the lock and writes the PID of this process into it.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock: %w", err)
		}
		holder := "another agent"
		if text, err := io.ReadAll(io.LimitReader(f, 32)); err == nil && len(text) > 0 {
			holder = "the agent with PID " + strings.TrimSpace(string(text))
		}
		return nil, fmt.Errorf("it is in use by %s: stop that one, or give this agent a directory of its own (--data-dir)", holder)
	}
	// The file stays when the agent ends: removing it would let two agents lock two files of that name.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // the PID is only for the message
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkVersion refuses a directory of a newer agent, and marks a new one.
func (d *DataDir) checkVersion() error {
	text, err := os.ReadFile(d.Path(versionFile))
	if errors.Is(err, os.ErrNotExist) {
		return writeFile(d.Path(versionFile), []byte(strconv.Itoa(dataVersion)+"\n"))
	}
	if err != nil {
		return err
	}
	switch v, err := strconv.Atoi(strings.TrimSpace(string(text))); {
	case err != nil || v < 1:
		return fmt.Errorf("%s does not hold a number: this is no data directory of an agent, or it is damaged; if it is one, write %d into that file",
			d.Path(versionFile), dataVersion)
	case v > dataVersion:
		return fmt.Errorf("it has format %d and this agent knows formats up to %d: start the newer agent that wrote it, or take an empty directory",
			v, dataVersion)
	}
	return nil
}

// writeFile replaces a file so that after a crash at any moment the old or the new content stands.
func writeFile(path string, data []byte) error {
	temp := path + ".tmp" // one that a crash left is overwritten
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func kernelBootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}
