package runtime

import (
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

// minTrimPause bounds how often a flood of output has log files looked at.
const minTrimPause = 200 * time.Millisecond

// logBound is what a log file may keep, and how much less is kept when it is cut: as if the oldest of MaxFiles files were
// dropped.
type logBound struct {
	keep int64
	cut  int64
}

func boundOf(c state.LogConfig) logBound {
	file := int64(max(c.MaxFileSizeMB, 1)) << 20
	keep := int64(max(c.MaxFiles, 1)) * file
	return logBound{keep: keep, cut: min(file, keep/2)}
}

// tendLogs keeps log files within their bounds until ctx ends. It looks often when they grow fast.
func (r *Runner) tendLogs(ctx context.Context) {
	sizes, last := map[string]int64{}, time.Now()
	wait := r.cfg.TrimEvery
	for pause(ctx, wait) == nil {
		now := time.Now()
		sizes, wait = r.trimAll(sizes, now.Sub(last))
		last = now
	}
}

// trimAll looks at every log file once. It returns their sizes and when to look again: before any can double what it may keep.
func (r *Runner) trimAll(old map[string]int64, since time.Duration) (map[string]int64, time.Duration) {
	r.mu.Lock()
	allocs := make([]*alloc, 0, len(r.allocs))
	for _, a := range r.allocs {
		allocs = append(allocs, a)
	}
	r.mu.Unlock()
	sizes, wait := map[string]int64{}, r.cfg.TrimEvery
	for _, a := range allocs {
		if rec := a.record(); rec == nil || rec.Ended {
			continue
		}
		a.trim(func(path string, size int64, bound logBound) {
			sizes[path] = size
			if grown := size - old[path]; grown > 0 && since > 0 {
				wait = min(wait, markEvery)
				wait = min(wait, time.Duration(float64(since)*float64(bound.keep)/float64(grown)/2))
			}
		})
	}
	return sizes, max(wait, minTrimPause)
}

// trim bounds the log files of one allocation.
func (a *alloc) trim(seen func(path string, size int64, bound logBound)) {
	rec := a.record()
	for _, t := range rec.group().Tasks {
		if rec.Tasks[t.Name].Runs == 0 || t.LogConfig.Disabled {
			continue
		}
		bound := boundOf(t.LogConfig)
		var sizes [2]int64
		for i, kind := range []LogKind{Stdout, Stderr} {
			rel := logPath(t.Name, kind)
			path := filepath.Join(a.dir, rel)
			size, err := trimFile(a.dir, rel, bound, punchHole)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				a.log.Warn("cannot bound log file as it should be", "file", path, "error", err)
			}
			sizes[i] = size
			seen(path, size, bound)
		}
		a.marksOf(t.Name).note(logMark{At: time.Now().UnixNano(), Sizes: sizes})
	}
}

// errNoHoles says that a file system cannot free the head of a file.
var errNoHoles = errors.New("the file system cannot free parts of a file")

// trimFile frees the head of a log file that is beyond its bound and returns the file's size. What writes appends, whatever
// happens at the head, so that no line at the end is lost.
func trimFile(dir, rel string, bound logBound, punch func(f *os.File, from, to int64) error) (int64, error) {
	info, err := os.Lstat(filepath.Join(dir, rel)) // cheap, for the many that are small; a link is found out below
	if err != nil {
		return 0, err
	}
	if info.Mode().IsRegular() && info.Size() <= bound.keep {
		return info.Size(), nil
	}
	f, err := openBeneath(dir, rel, unix.O_RDWR|unix.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	if st.Size <= bound.keep {
		return st.Size, nil
	}
	first, err := firstData(f, st.Size)
	if err != nil || st.Size-first <= bound.keep {
		return st.Size, err
	}
	block := max(st.Blksize, 4096)
	to := (st.Size - bound.keep + bound.cut) / block * block
	if to <= first {
		return st.Size, nil
	}
	err = punch(f, first, to)
	if errors.Is(err, errNoHoles) {
		return 0, errors.Join(fmt.Errorf("%w: copied its tail", err), copyTail(f, to))
	}
	return st.Size, err
}

// punchHole frees the blocks between two offsets and leaves the file's size as it is.
func punchHole(f *os.File, from, to int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errNoHoles
	}
	if err != nil {
		return fmt.Errorf("free the head of the file: %w", err)
	}
	return nil
}

// copyTail is for file systems without holes: the tail is kept in memory while the file is emptied, and appended again. Lines
// written meanwhile come before it, offsets start over.
func copyTail(f *os.File, from int64) error {
	tail, err := io.ReadAll(io.NewSectionReader(f, from, 1<<62))
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.Write(tail)
	return err
}
