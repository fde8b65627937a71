package main

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// keyboard reads a terminal or a pipe whose Read would wait for ever, and can be woken by Close. The file itself stays open, and as it
// is: it may be shared with the shell.
type keyboard struct {
	file *os.File
	wake [2]int // a pipe
	once sync.Once
}

// newKeyboard makes a reader of the standard input that Close wakes. Other readers do not wait.
func newKeyboard(r io.Reader) io.Reader {
	file, ok := r.(*os.File)
	if !ok {
		return r
	}
	t := &keyboard{file: file}
	if unix.Pipe2(t.wake[:], unix.O_CLOEXEC) != nil {
		return r // out of descriptors; what follows will say so
	}
	return t
}

// Read waits until there is something to read, or Close is called.
func (t *keyboard) Read(p []byte) (int, error) {
	fd := int(t.file.Fd())
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(t.wake[0]), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case fds[1].Revents != 0:
			return 0, io.EOF
		}
		n, err := unix.Read(fd, p)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Close ends Read. The pipe's other end stays open until the process ends: a Read may still look at it.
func (t *keyboard) Close() error {
	t.once.Do(func() { _ = unix.Close(t.wake[1]) }) // the reader sees the end of the pipe
	return nil
}
