package agent

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

func openDir(t *testing.T, path string) *DataDir {
	t.Helper()
	d, err := OpenDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// reopen closes a directory and opens it again, as an agent that is started again does.
func reopen(t *testing.T, d *DataDir) *DataDir {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return openDir(t, d.path)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDataDirRemembers(t *testing.T) {
	d := openDir(t, filepath.Join(t.TempDir(), "new", "data"))
	first := d.Identity()
	if _, err := uuid.Parse(first.NodeID); err != nil || !first.IDUnknown || first.Recovered || first.Rebooted || first.ClusterID != "" {
		t.Fatalf("got %+v", first)
	}
	if info, err := os.Stat(d.path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	if err := d.Remember(func(id *Identity) { id.ClusterID, id.Generation, id.Index = "c", 2, 30 }); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(2) {
		d = reopen(t, d)
		id := d.Identity()
		want := Identity{NodeID: first.NodeID, ClusterID: "c", Generation: 2, Index: 30, Boot: first.Boot + 1 + i, BootID: kernelBootID()}
		if id != want {
			t.Errorf("got %+v, want %+v", id, want)
		}
	}
	if got, want := d.Path("client", "allocs"), filepath.Join(d.path, "client/allocs"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDataDirChangesItsID(t *testing.T) {
	d := openDir(t, t.TempDir())
	old := uuid.NewString()
	if err := d.Remember(func(id *Identity) { id.NodeID = old }); err != nil {
		t.Fatal(err)
	}
	if id := reopen(t, d).Identity(); id.NodeID != old || id.Recovered {
		t.Errorf("got %+v", id)
	}
	if err := d.Remember(func(id *Identity) { id.NodeID = "no uuid" }); err == nil || d.Identity().NodeID != old {
		t.Errorf("got %v, %+v", err, d.Identity())
	}
}

func TestDataDirNoticesAReboot(t *testing.T) {
	d := openDir(t, t.TempDir())
	if err := d.Remember(func(id *Identity) { id.BootID = "before" }); err != nil {
		t.Fatal(err)
	}
	d = reopen(t, d)
	if !d.Identity().Rebooted {
		t.Error("not noticed")
	}
	if reopen(t, d).Identity().Rebooted {
		t.Error("noticed twice")
	}
}

func TestDataDirIsLocked(t *testing.T) {
	d := openDir(t, t.TempDir())
	_, err := OpenDataDir(d.path)
	if err == nil || !strings.Contains(err.Error(), d.path) || !strings.Contains(err.Error(), "PID "+strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if id := reopen(t, d).Identity(); id.Boot != d.Identity().Boot+1 {
		t.Errorf("the refused agent has counted: %+v", id)
	}
}

// A process that is killed gives the lock up, and its children do not keep it.
func TestDataDirLockEndsWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	const holdEnv = "AGENT_TEST_HOLD"
	if hold := os.Getenv(holdEnv); hold != "" {
		if _, err := OpenDataDir(hold); err != nil {
			t.Fatal(err)
		}
		child := exec.Command("sleep", "1000")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("held by " + strconv.Itoa(child.Process.Pid) + "\n")
		select {}
	}
	holder := exec.Command("/proc/self/exe", "-test.run", "^TestDataDirLockEndsWithItsProcess$")
	holder.Env = append(os.Environ(), holdEnv+"="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "held by ")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
	if _, err := OpenDataDir(dir); err == nil || !strings.Contains(err.Error(), "PID "+strconv.Itoa(holder.Process.Pid)) {
		t.Errorf("got %v", err)
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	openDir(t, dir)
}

func TestDataDirVersions(t *testing.T) {
	for text, want := range map[string]string{"2\n": "format 2 and this agent knows formats up to 1", "junk": "does not hold a number", "": "does not hold a number"} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, versionFile), text)
		if _, err := OpenDataDir(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
		put(t, filepath.Join(dir, versionFile), "1\n") // nothing was changed, nothing is locked
		openDir(t, dir)
	}
	if _, err := OpenDataDir("relative"); err == nil {
		t.Error("want an error for a relative path")
	}
	put(t, filepath.Join(t.TempDir(), "file"), "")
	if _, err := OpenDataDir("/proc/version/x"); err == nil {
		t.Error("want an error for a path through a file")
	}
}

// Whatever byte of the node file is hit, the agent is the same node afterwards, and the damaged file is kept.
func TestDamagedNodeFile(t *testing.T) {
	d := openDir(t, t.TempDir())
	if err := d.Remember(func(id *Identity) { id.ClusterID = "c" }); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(d.Path(nodeFile))
	if err != nil {
		t.Fatal(err)
	}
	last := d.Identity()
	for i := 0; i < len(good); i += 7 {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x04
		if i%2 == 0 {
			bad = bad[:i]
		}
		put(t, d.Path(nodeFile), string(bad))
		d = reopen(t, d)
		id := d.Identity()
		if id.NodeID != last.NodeID || !id.Recovered || id.IDUnknown || id.ClusterID != "" || id.Boot <= last.Boot {
			t.Fatalf("byte %d: got %+v, before %+v", i, id, last)
		}
		if kept, err := os.ReadFile(id.RecoveredFrom); err != nil || string(kept) != string(bad) || !strings.Contains(id.RecoveredFrom, ".corrupt-") {
			t.Fatalf("byte %d: %s is not what was damaged: %v", i, id.RecoveredFrom, err)
		}
		d = reopen(t, d)
		if again := d.Identity(); again.Recovered || again.NodeID != id.NodeID || again.Boot != id.Boot+1 {
			t.Fatalf("byte %d: the next start: %+v", i, again)
		}
		last.Boot = id.Boot
	}
}

func TestLostIDs(t *testing.T) {
	for name, damage := range map[string]func(d *DataDir){
		"both damaged": func(d *DataDir) { put(t, d.Path(nodeFile), "junk"); put(t, d.Path(nodeIDFile), "junk") },
		"both gone":    func(d *DataDir) { os.Remove(d.Path(nodeFile)); os.Remove(d.Path(nodeIDFile)) },
	} {
		d := openDir(t, t.TempDir())
		old := d.Identity().NodeID
		damage(d)
		d = reopen(t, d)
		if id := d.Identity(); id.NodeID == old || !id.IDUnknown {
			t.Errorf("%s: got %+v", name, id)
		}
		// A server's log belongs to its ID: nothing is made up then, and the message says what to do.
		damage(d)
		put(t, d.Path("raft", "raft.db"), "log")
		d.Close()
		if _, err := OpenDataDir(d.path); err == nil || !strings.Contains(err.Error(), "write the ID") {
			t.Errorf("%s, with a log: got %v", name, err)
		}
		put(t, d.Path(nodeIDFile), old+"\n")
		if id := openDir(t, d.path).Identity(); id.NodeID != old || id.IDUnknown {
			t.Errorf("%s, with the ID written by hand: got %+v", name, id)
		}
	}
}

func TestHalfLostIDs(t *testing.T) {
	d := openDir(t, t.TempDir())
	want := d.Identity().NodeID
	for _, text := range []string{"junk", ""} {
		put(t, d.Path(nodeIDFile), text)
		d = reopen(t, d)
		if id := d.Identity(); id.NodeID != want || id.Recovered {
			t.Errorf("got %+v, want the ID of node.json", id)
		}
	}
	put(t, d.Path(nodeIDFile), uuid.NewString())
	d.Close()
	if _, err := OpenDataDir(d.path); err == nil || !strings.Contains(err.Error(), "correct the one that is wrong") {
		t.Errorf("two IDs: got %v", err)
	}
}

// The agent was killed while it wrote: what it left is no hindrance.
func TestKilledWhileWriting(t *testing.T) {
	d := openDir(t, t.TempDir())
	want := d.Identity().NodeID
	for _, name := range []string{nodeFile, nodeIDFile, versionFile} {
		put(t, d.Path(name+".tmp"), `{"NodeID":"half`)
	}
	d = reopen(t, d)
	if err := d.Remember(func(id *Identity) { id.Index = 7 }); err != nil {
		t.Fatal(err)
	}
	if id := reopen(t, d).Identity(); id.NodeID != want || id.Index != 7 || id.Recovered {
		t.Errorf("got %+v", id)
	}
}

func TestRememberFailsWhole(t *testing.T) {
	d := openDir(t, t.TempDir())
	if err := os.Mkdir(d.Path(nodeFile+".tmp"), 0o700); err != nil { // stands in the way of the write
		t.Fatal(err)
	}
	before := d.Identity()
	if err := d.Remember(func(id *Identity) { id.Index = 7 }); err == nil {
		t.Fatal("want an error")
	}
	if got := d.Identity(); got != before {
		t.Errorf("got %+v, want %+v", got, before)
	}
	if err := d.Remember(func(*Identity) {}); err != nil { // nothing to write
		t.Error(err)
	}
}

func TestSpaceFloor(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		free, total, freeFiles, files uint64
		ok                            bool
	}{
		{10 * gib, 100 * gib, 1e6, 1e7, true},
		{maxFloor, 100 * gib, 1e6, 1e7, true},
		{maxFloor - 1, 100 * gib, 1e6, 1e7, false},
		{7 << 20, 64 << 20, 1e6, 1e7, true}, // a small disk: a tenth
		{6 << 20, 64 << 20, 1e6, 1e7, false},
		{10 * gib, 100 * gib, 999, 1e7, false},
		{10 * gib, 100 * gib, 0, 0, true}, // a file system that does not count files
	} {
		if err := checkSpace("/d", c.free, c.total, c.freeFiles, c.files); (err == nil) != c.ok {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	if err := openDir(t, t.TempDir()).Writable(); err != nil {
		t.Skip("this machine's disk is nearly full: ", err)
	}
}

// What was found of the disk's space holds for a moment, and no longer.
func TestWritableAsksNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("nearly full")
		d := &DataDir{path: t.TempDir(), askedAt: time.Now(), full: full}
		time.Sleep(spaceEvery - 1)
		if err := d.Writable(); !errors.Is(err, full) {
			t.Errorf("a moment later: %v", err)
		}
		time.Sleep(1)
		if err := d.Writable(); errors.Is(err, full) {
			t.Error("it did not ask again")
		}
	})
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	d := openDir(t, filepath.Join(disk, "data"))
	if err := d.Writable(); err != nil {
		t.Errorf("empty: %v", err)
	}
	f, err := os.Create(filepath.Join(disk, "balloon"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	d.askedAt = time.Time{} // as if it had been a while ago
	if err := d.Writable(); err == nil || !strings.Contains(err.Error(), "nearly full") {
		t.Errorf("full: %v", err)
	}
	before := d.Identity()
	if err := d.Remember(func(id *Identity) { id.Index = 7 }); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	_ = f.Truncate(0)
	if id := reopen(t, d).Identity(); id.NodeID != before.NodeID || id.Index != before.Index || id.Recovered {
		t.Errorf("got %+v, want %+v", id, before)
	}
}
