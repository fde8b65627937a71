package exec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// What an init process carries in its environment beside initMarker, so that it can be found when its directory is lost: the
// machine knows what runs on it, also after somebody has wiped the agent's data.
const (
	adoptDir    = "DROVER_EXEC_DIR="
	adoptRecord = "DROVER_EXEC_RECORD="
)

// identity is the environment of an init process. It holds no secret: that of the command goes through the pipe.
func (t *task) identity() ([]string, error) {
	data, err := json.Marshal(t.rec)
	return []string{adoptDir + filepath.Dir(t.dir), adoptRecord + string(data)}, err
}

// adopt writes the records of tasks that run but have none. How such a task ends cannot be known: init has no directory left
// to write to.
func (d *Driver) adopt() error {
	for _, pid := range processes() {
		t, ok := d.recall(pid)
		if !ok {
			continue
		}
		name := filepath.Base(t.dir)
		if _, err := d.load(name); err == nil {
			continue
		}
		if err := os.MkdirAll(t.dir, 0o700); err != nil {
			return err
		}
		if err := t.save(durable); err != nil {
			return err
		}
		if err := t.recallStarted(); err != nil {
			return err
		}
		d.log.Warn("found a task whose state is lost: its exit code will be unknown", "task", name, "pid", pid)
	}
	return nil
}

// recall reads the record in the environment of one of this driver's init processes.
func (d *Driver) recall(pid int) (*task, bool) {
	// Another user's process may call itself what it likes, and would have us kill the cgroup that it names.
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return nil, false
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !strings.Contains(string(data), adoptDir+d.cfg.Dir+"\x00") {
		return nil, false
	}
	t := &task{}
	for _, entry := range strings.Split(string(data), "\x00") {
		if text, ok := strings.CutPrefix(entry, adoptRecord); ok && json.Unmarshal([]byte(text), &t.rec) != nil {
			return nil, false
		}
	}
	name, err := taskName(t.rec.ID)
	st, gone := readStat(pid)
	if err != nil || gone != nil || t.rec.BootID != d.boot {
		return nil, false
	}
	// A process of root in a container may say so too. Its word on the cgroup counts only if it is in it: then it harms itself.
	if !d.groups.holds(t.rec.Cgroup, pid) {
		t.rec.Cgroup = ""
	}
	t.dir, t.rec.PID, t.rec.StartTime = d.dir(name), pid, st.start
	return t, true
}

// recallStarted writes the file that init wrote when it started the command: its oldest child.
func (t *task) recallStarted() error {
	var command, oldest = 0, uint64(0)
	for _, pid := range children(t.rec.PID) {
		if st, err := readStat(pid); err == nil && (command == 0 || st.start < oldest) {
			command, oldest = pid, st.start
		}
	}
	if command == 0 {
		return nil // about to end, or not yet told to go on
	}
	data, err := json.Marshal(started{PID: innerPID(command)})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.dir, startedFile), data, 0o600)
}
