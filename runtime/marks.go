package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// markEvery is how often growing log files are looked at: how exactly it is known when a line was written.
	markEvery = time.Second
	// maxMarks bounds the marks of one task. Older ones become sparser.
	maxMarks = 512
	// maxRunMarks is of how many runs the beginning is kept.
	maxRunMarks = 16
)

// logMark says how long a task's log files were at a time. Log files have no times of their own; what lies behind a mark was
// written after it.
type logMark struct {
	At    int64    // the node's wall clock, nanoseconds
	Sizes [2]int64 // of stdout and stderr
	Run   int      // the run that began here; 0 for a mark that is only one of time
}

// logMarks are the marks of one task, oldest first, kept in a file beside the allocation's record.
type logMarks struct {
	path string

	mu    sync.Mutex
	known bool // the file was read
	marks []logMark
}

// marksOf are a task's marks.
func (a *alloc) marksOf(task string) *logMarks {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.marks == nil {
		a.marks = map[string]*logMarks{}
	}
	m := a.marks[task]
	if m == nil {
		m = &logMarks{path: filepath.Join(a.dir, marksName, task)}
		a.marks[task] = m
	}
	return m
}

// logSizes are the sizes of a task's log files now.
func (a *alloc) logSizes(task string) [2]int64 {
	var sizes [2]int64
	for i, kind := range []LogKind{Stdout, Stderr} {
		if info, err := os.Lstat(filepath.Join(a.dir, logPath(task, kind))); err == nil && info.Mode().IsRegular() {
			sizes[i] = info.Size()
		}
	}
	return sizes
}

// note adds a mark. One that says nothing new only moves the last one on in time. A file that cannot be written costs the marks
// after a restart of the agent, nothing else.
func (m *logMarks) note(mark logMark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	if n := len(m.marks); n > 0 {
		last := &m.marks[n-1]
		switch {
		case mark.Sizes[0] < last.Sizes[0] || mark.Sizes[1] < last.Sizes[1]: // its file system frees no heads: offsets began anew
			m.marks = nil
			_ = os.Remove(m.path) // overwritten below in any case
		case mark.Run == 0 && mark.Sizes == last.Sizes:
			last.At = mark.At
			return
		}
	}
	if mark.Run > 0 && m.begun(mark) {
		return
	}
	m.marks = append(m.marks, mark)
	if len(m.marks) > maxMarks {
		m.thin()
		_ = m.write(m.marks, os.O_TRUNC)
		return
	}
	_ = m.write(m.marks[len(m.marks)-1:], os.O_APPEND)
}

// begun reports whether the beginning of a run is marked already: it is attached to, or what was started before it wrote nothing.
func (m *logMarks) begun(mark logMark) bool {
	for i, k := range slices.Backward(m.marks) {
		if k.Run == 0 {
			continue
		}
		if k.Sizes == mark.Sizes {
			m.marks[i].Run = mark.Run
		}
		return k.Run == mark.Run || k.Sizes == mark.Sizes
	}
	return false
}

// thin keeps every second mark of time in the older half, and the beginnings of the latest runs.
func (m *logMarks) thin() {
	runs := 0
	for _, k := range m.marks {
		if k.Run > 0 {
			runs++
		}
	}
	n, half := 0, len(m.marks)/2
	m.marks = slices.DeleteFunc(m.marks, func(k logMark) bool {
		n++
		if k.Run > 0 {
			runs--
			return runs >= maxRunMarks
		}
		return n < half && n%2 == 0
	})
}

func (m *logMarks) write(marks []logMark, how int) error {
	if err := os.Mkdir(filepath.Dir(m.path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(m.path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|how, 0o600)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, k := range marks {
		fmt.Fprintln(&b, k.At, k.Sizes[0], k.Sizes[1], k.Run)
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Close())
}

// load reads what an earlier life of the agent left. A line that is torn or makes no sense ends it.
func (m *logMarks) load() {
	if m.known {
		return
	}
	m.known = true
	f, err := os.Open(m.path)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && len(m.marks) < 2*maxMarks; {
		var k logMark
		n, err := fmt.Sscan(lines.Text(), &k.At, &k.Sizes[0], &k.Sizes[1], &k.Run)
		if err != nil || n != 4 || k.Sizes[0] < 0 || k.Sizes[1] < 0 {
			return
		}
		m.marks = append(m.marks, k)
	}
}

// before is the last mark at or before a time.
func (m *logMarks) before(at int64) (logMark, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	for _, k := range slices.Backward(m.marks) {
		if k.At <= at {
			return k, true
		}
	}
	return logMark{}, false
}

// begin is how long the log files were when a run began; zero when that is not known any more.
func (m *logMarks) begin(run int) [2]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	for _, k := range slices.Backward(m.marks) {
		if k.Run > 0 && k.Run <= run { // an earlier run that wrote nothing began at the same place
			return k.Sizes
		}
	}
	return [2]int64{}
}

// previous are the marks at which the run before the latest began and ended.
func (m *logMarks) previous() (from, to logMark, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	found := 0
	for _, k := range slices.Backward(m.marks) {
		if k.Run == 0 {
			continue
		}
		if found++; found == 1 {
			to = k
			continue
		}
		return k, to, true
	}
	return from, to, false
}

// Since is an offset behind which everything lies that was written since a time, and at most what was written a moment before. When
// nothing was, it is the end.
func (l *LogReader) Since(at time.Time) (int64, error) {
	f, err := l.open()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	if info.ModTime().Before(at) {
		return info.Size(), nil
	}
	mark, ok := l.marks.before(at.UnixNano())
	first, end, err := keptRange(f)
	if err != nil || !ok {
		return first, err
	}
	return min(max(first, mark.Sizes[l.stream()]), end), nil
}

// Previous is what the run of the task before the latest has written. ErrNotFound: there was none, or it is not known any more.
func (l *LogReader) Previous() (from, to int64, err error) {
	a, b, ok := l.marks.previous()
	if !ok {
		return 0, 0, fmt.Errorf("read logs: the task has not been started again here, so far as it is remembered: %w", ErrNotFound)
	}
	return a.Sizes[l.stream()], b.Sizes[l.stream()], nil
}

// stream is the position of the reader's stream in logMark.Sizes.
func (l *LogReader) stream() int {
	if strings.HasSuffix(l.rel, string(Stderr)) {
		return 1
	}
	return 0
}
