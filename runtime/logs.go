package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/state"
)

// LogKind is one of a task's two output streams.
type LogKind string

// The streams.
const (
	Stdout LogKind = "stdout"
	Stderr LogKind = "stderr"
)

const (
	maxLine    = 64 << 10               // longer lines are handed out in pieces
	followPoll = 200 * time.Millisecond // between looks at a file that is followed
)

// logPath is a stream's file, relative to the allocation's directory.
func logPath(task string, kind LogKind) string {
	return filepath.Join(logsName, task+"."+string(kind))
}

// LogReader reads one stream of one task. The file grows at its end while its head is freed, and offsets never change, so that
// readers can go on where they were. Methods may be called from any goroutine.
type LogReader struct {
	dir  string
	rel  string
	over func() bool // nothing more will be written

	marks *logMarks
}

// OpenLog gives access to a task's output. ErrNotFound: there is no such allocation or task here. The file itself need not
// exist yet.
func (r *Runner) OpenLog(allocID, task string, kind LogKind) (*LogReader, error) {
	a, err := r.alloc(allocID)
	if err != nil {
		return nil, fmt.Errorf("read logs: %w", err)
	}
	if kind != Stdout && kind != Stderr {
		return nil, fmt.Errorf("read logs: stream %q is neither stdout nor stderr", kind)
	}
	if rec := a.record(); rec == nil || rec.task(task) == nil {
		return nil, fmt.Errorf("read logs: allocation %s has no task %q: %w", allocID, task, ErrNotFound)
	}
	return &LogReader{dir: a.dir, rel: logPath(task, kind), over: func() bool { return r.taskOver(allocID, task) }, marks: a.marksOf(task)}, nil
}

// Logs is the file of a task's output. Readers are better served by OpenLog: the head of the file may have been freed.
func (r *Runner) Logs(allocID, task string, kind LogKind) (path string, err error) {
	l, err := r.OpenLog(allocID, task, kind)
	if err != nil {
		return "", err
	}
	return filepath.Join(l.dir, l.rel), nil
}

// taskOver reports whether a task will not write any more.
func (r *Runner) taskOver(allocID, task string) bool {
	a, err := r.alloc(allocID)
	if err != nil {
		return true
	}
	rec := a.record()
	return rec == nil || rec.Ended || rec.Tasks[task].State.State == state.TaskDead
}

// Range says which offsets can be read: first is where the first whole line begins that was kept, end is behind the last byte.
func (l *LogReader) Range() (first, end int64, err error) {
	f, err := l.open()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	return keptRange(f)
}

// Tail is the offset where the last n lines begin.
func (l *LogReader) Tail(n int) (int64, error) { return l.TailBefore(1<<62, n) }

// TailBefore is the offset where the last n lines before an offset begin.
func (l *LogReader) TailBefore(until int64, n int) (int64, error) {
	f, err := l.open()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	first, end, err := keptRange(f)
	end = min(end, until)
	if err != nil || n <= 0 {
		return end, err
	}
	buf := make([]byte, maxLine)
	left := n + 1 // the newline before the first of them
	for at := end; at > first; {
		size := min(int64(len(buf)), at-first)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil {
			return 0, fmt.Errorf("read log: %w", err)
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' {
				continue
			}
			if at+i == end-1 {
				continue // ends the last line
			}
			if left--; left == 1 {
				return at + i + 1, nil
			}
		}
	}
	return first, nil
}

// Read hands out what there is from offset on, in pieces of at most 64 KiB that end at a line's end where that is possible. An
// offset before what was kept, or behind the end, moves to the first line kept. With follow it goes on until ctx ends or the
// task is dead and all was read. emit gets the piece's offset; an error from it ends the reading and is returned. The end of
// ctx is no error.
func (l *LogReader) Read(ctx context.Context, offset int64, follow bool, emit func(offset int64, p []byte) error) error {
	return l.ReadUntil(ctx, offset, 1<<62, follow, emit)
}

// ReadUntil is Read that hands out nothing from until on.
func (l *LogReader) ReadUntil(ctx context.Context, offset, until int64, follow bool, emit func(offset int64, p []byte) error) error {
	quiet := 0 // looks in a row that found nothing after the task was dead: what copies its output may lag behind
	for {
		over := l.over()
		next, err := l.drain(ctx, offset, until, emit)
		if err != nil {
			return err
		}
		if !follow || ctx.Err() != nil || next >= until {
			return nil
		}
		if next != offset {
			quiet = 0
		} else if over {
			if quiet++; quiet > 2 {
				return nil
			}
		}
		offset = next
		if pause(ctx, followPoll) != nil {
			return nil
		}
	}
}

// drain hands out everything from offset to the end, or to until, and returns where that is.
func (l *LogReader) drain(ctx context.Context, offset, until int64, emit func(int64, []byte) error) (int64, error) {
	f, err := l.open()
	if errors.Is(err, fs.ErrNotExist) {
		return offset, nil
	}
	if err != nil {
		return offset, err
	}
	defer f.Close()
	buf := make([]byte, maxLine)
	for ctx.Err() == nil {
		first, end, err := keptRange(f)
		if err != nil {
			return offset, err
		}
		if offset < first || offset > end {
			offset = first
		}
		n, err := f.ReadAt(buf[:max(0, min(int64(len(buf)), min(end, until)-offset))], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return offset, fmt.Errorf("read log: %w", err)
		}
		if n == 0 {
			return offset, nil
		}
		if freed, err := isFreed(f, offset); err != nil {
			return offset, err
		} else if freed {
			continue // while it was being read: what was read may be zeros
		}
		p := buf[:n]
		if i := bytes.LastIndexByte(p, '\n'); n == len(buf) && i >= 0 {
			p = p[:i+1]
		}
		if err := emit(offset, p); err != nil {
			return offset, err
		}
		offset += int64(len(p))
	}
	return offset, nil
}

func (l *LogReader) open() (*os.File, error) {
	f, err := openBeneath(l.dir, l.rel, unix.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return f, nil
}

// keptRange finds the first line that was kept, and the end. The head is freed in whole blocks, so that the first line left may
// be a piece; it is skipped.
func keptRange(f *os.File) (first, end int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, fmt.Errorf("read log: %w", err)
	}
	end = info.Size()
	data, err := firstData(f, end)
	if err != nil || data == 0 || data == end {
		return data, end, err
	}
	buf := make([]byte, maxLine)
	n, err := f.ReadAt(buf[:min(maxLine, end-data)], data)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, fmt.Errorf("read log: %w", err)
	}
	zeros := 0 // where the file system frees larger blocks than it says
	for zeros < n && buf[zeros] == 0 {
		zeros++
	}
	if i := bytes.IndexByte(buf[zeros:n], '\n'); i >= 0 {
		return data + int64(zeros+i) + 1, end, nil
	}
	return data + int64(zeros), end, nil
}

// firstData is the offset of the first byte that was not freed; end when there is none.
func firstData(f *os.File, end int64) (int64, error) {
	at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return end, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return 0, nil // the file system knows no holes
	case err != nil:
		return 0, fmt.Errorf("read log: find first data: %w", err)
	}
	return at, nil
}

// isFreed reports whether the block at offset has been freed.
func isFreed(f *os.File, offset int64) (bool, error) {
	at, err := unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return true, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read log: find data: %w", err)
	}
	return at > offset, nil
}
