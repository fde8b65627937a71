package runtime

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/state"
)

const (
	// lastWordsRead is how much of the end of a log file is looked at: more than a CrashTail can hold.
	lastWordsRead = 8 << 10
	// outputQuiet is how long the log files of a task that ended must not have grown to count as complete.
	outputQuiet = 100 * time.Millisecond
)

// OutputCopier is what a driver implements whose tasks do not write into their log files themselves: what copies their output may
// lag behind their end.
type OutputCopier interface {
	// OutputLag bounds how long after a task's end something may still come.
	OutputLag() time.Duration
}

// crash is how a run that failed is remembered: how it ended, and the end of what it wrote. The log files are on the machine, so
// that it does not matter whether this agent has seen the run.
func (t *task) crash(ctx context.Context, x Exit) *state.CrashTail {
	if c, ok := t.driver.driver.(OutputCopier); ok {
		t.awaitOutput(ctx, c.OutputLag())
	}
	from := t.a.marksOf(t.name).begin(t.record().Runs)
	e := exitEvent(x)
	tail := state.CrashTail{Time: e.Time, Reason: e.Message, ExitCode: x.Code, Signal: x.Signal, OOM: x.OOM, Unknown: x.Unknown}
	for i, kind := range []LogKind{Stdout, Stderr} {
		lines, err := lastLines(t.a.dir, logPath(t.name, kind), from[i])
		if err != nil {
			t.a.log.Warn("cannot read what a task wrote last", "task", t.name, "stream", kind, "error", err)
		}
		if kind == Stdout {
			tail.Stdout = lines
		} else {
			tail.Stderr = lines
		}
	}
	return tail.Bound()
}

// awaitOutput waits until the log files of a task that has ended grow no more, for at most so long.
func (t *task) awaitOutput(ctx context.Context, most time.Duration) {
	sizes := t.a.logSizes(t.name)
	for waited := time.Duration(0); waited < most && pause(ctx, outputQuiet) == nil; waited += outputQuiet {
		now := t.a.logSizes(t.name)
		if now == sizes {
			return
		}
		sizes = now
	}
}

// lastLines are the last lines of a log file from an offset on, without empty ones.
func lastLines(dir, rel string, from int64) ([]string, error) {
	f, err := openBeneath(dir, rel, unix.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // its output is not kept
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	first, end, err := keptRange(f)
	if err != nil {
		return nil, err
	}
	if from > end {
		from = 0 // its file system frees no heads: offsets began anew
	}
	begin := max(first, from)
	at := max(begin, end-lastWordsRead)
	data := make([]byte, end-at)
	n, err := f.ReadAt(data, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	data = data[:n]
	if at > begin { // in the middle of a line
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			data = data[i+1:]
		}
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		line = line[strings.LastIndexByte(line, '\r')+1:] // progress is written over itself
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
