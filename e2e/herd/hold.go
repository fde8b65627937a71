package herd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
)

// request is one line that a machine's init reads.
type request struct {
	Op     string   // start, signal, status, keep
	Args   []string `json:",omitempty"`
	Env    []string `json:",omitempty"`
	Log    string   `json:",omitempty"` // file that the output is appended to
	PID    int      `json:",omitempty"` // in the machine's own numbering
	Signal int      `json:",omitempty"`
}

// reply is the line that it answers with.
type reply struct {
	PID   int    `json:",omitempty"`
	Alive bool   `json:",omitempty"`
	Code  int    `json:",omitempty"` // exit code of a process that is not alive; 128 + signal when killed
	Error string `json:",omitempty"`
}

// keeper is a machine's init: it starts what it is asked to, reaps every orphan, and ends when its owner does.
type keeper struct {
	mu    sync.Mutex
	exits map[int]int // PID → exit code of the processes it reaped
	owned map[int]bool
	kept  bool
}

// hold is the main function of a machine's init.
func hold() int {
	if err := prepare(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "prepare machine:", err)
		return 1
	}
	k := &keeper{exits: map[int]int{}, owned: map[int]bool{}}
	children := make(chan os.Signal, 64)
	signal.Notify(children, syscall.SIGCHLD)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range children {
			k.reap()
		}
	})
	out := json.NewEncoder(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var q request
		r := reply{}
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			r.Error = err.Error()
		} else {
			r = k.serve(q)
		}
		if err := out.Encode(r); err != nil && !k.kept {
			return 1
		}
	}
	if k.kept {
		select {} // until somebody kills this init, and with it the machine
	}
	return 0 // the owner is gone: as init of the machine's process namespace this ends everything on it
}

// prepare gives the machine its own /proc, /run and boot ID. args: the file that stands for the boot ID, or nothing for a
// machine that shares the host's mounts and processes.
func prepare(args []string) error {
	if len(args) == 0 {
		return nil
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := syscall.Mount(args[0], "/proc/sys/kernel/random/boot_id", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount boot ID: %w", err)
	}
	return nil
}

func (k *keeper) serve(q request) reply {
	switch q.Op {
	case "start":
		return k.start(q)
	case "signal":
		if err := syscall.Kill(q.PID, syscall.Signal(q.Signal)); err != nil {
			return reply{Error: err.Error()}
		}
		return reply{}
	case "status":
		k.mu.Lock()
		defer k.mu.Unlock()
		code, ended := k.exits[q.PID]
		return reply{PID: q.PID, Alive: k.owned[q.PID] && !ended, Code: code}
	case "keep":
		k.kept = true
		return reply{}
	}
	return reply{Error: fmt.Sprintf("unknown operation %q", q.Op)}
}

func (k *keeper) start(q request) reply {
	logFile, err := os.OpenFile(q.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return reply{Error: err.Error()}
	}
	defer closeAll(logFile)
	cmd := exec.Command(q.Args[0], q.Args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = q.Env, logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	k.mu.Lock() // before the child can be reaped
	defer k.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return reply{Error: err.Error()}
	}
	pid := cmd.Process.Pid
	k.owned[pid] = true
	delete(k.exits, pid)
	return reply{PID: pid}
}

// reap collects every child that has ended, adopted ones too.
func (k *keeper) reap() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if pid <= 0 || (err != nil && !errors.Is(err, syscall.EINTR)) {
			return
		}
		if !k.owned[pid] {
			continue
		}
		k.exits[pid] = ws.ExitStatus()
		if ws.Signaled() {
			k.exits[pid] = 128 + int(ws.Signal())
		}
	}
}

func closeAll(cs ...io.Closer) {
	for _, c := range cs {
		_ = c.Close() // files given up: nothing was promised of them
	}
}
