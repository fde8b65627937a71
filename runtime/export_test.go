package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/drover-io/drover/state"
)

// SetFault has every write of a record pass f: "save" before, "saved" after it.
func (c *Config) SetFault(f func(op string) error) { c.fault = f }

// TrimFile bounds a log file; without holes as on a file system that has none.
func TrimFile(dir, rel string, keep, cut int64, holes bool) (int64, error) {
	punch := punchHole
	if !holes {
		punch = func(*os.File, int64, int64) error { return errNoHoles }
	}
	return trimFile(dir, rel, logBound{keep: keep, cut: cut}, punch)
}

// FileReader reads a file as if it were a task's output.
func FileReader(dir, rel string, over func() bool) *LogReader {
	return &LogReader{dir: dir, rel: rel, over: over}
}

// JudgeRestart exposes the restart policy.
func JudgeRestart(p state.RestartPolicy, since time.Time, count int, now time.Time, id TaskID, run int) (restart bool, delay time.Duration, reason string, left int) {
	v := judgeRestart(p, restartWindow{Since: since.UnixNano(), Count: count}, now, id, run)
	return v.restart, v.delay, v.reason, v.window.Count
}

// Expand replaces expressions for a node and an environment.
func Expand(node *state.Node, env map[string]string, v any) (any, error) {
	return newScope(node, env).expandAll(v, "config")
}

// MakeTaskDirs and the others expose the handling of directories.
func MakeTaskDirs(dir string, tasks []state.Task) error { return makeTaskDirs(dir, tasks) }
func MakeLogs(dir string, spec TaskSpec) error          { return makeLogs(dir, spec) }
func RemoveTree(path string) error                      { return removeTree(path) }

// CpusetsAt are cpusets of a tree of plain files.
func CpusetsAt(mount, dir string, cores []int) *Cpusets {
	return &Cpusets{root: filepath.Join(mount, dir), cores: cores}
}

// LastLines are the last lines of a file from an offset on, as a crash tail has them.
func LastLines(dir, rel string, from int64) ([]string, error) { return lastLines(dir, rel, from) }

// BoundReport bounds the report of one allocation, and says how large it is and may be.
func BoundReport(r state.AllocReport) (out state.AllocReport, size, most int) {
	out = bounded(r)
	return out, sizeOf(out), maxReportBytes
}

// FilesAt are the files of an allocation's directory with these tasks.
func FilesAt(dir string, tasks []string, task string) *Files {
	return &Files{dir: dir, tasks: tasks, task: task}
}

// Meter makes rates of counters.
type Meter struct{ m meter[string] }

// Note takes readings and returns the keys without a rate, sorted.
func (m *Meter) Note(at time.Time, counts map[string]uint64) []string {
	return slices.Sorted(slices.Values(m.m.note(at, counts)))
}

// Rate is a rate in per cent.
func (m *Meter) Rate(k string) float64 { return m.m.rate(k) }
