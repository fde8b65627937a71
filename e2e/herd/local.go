package herd

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// localMachine stands for a machine where the kernel gives no namespaces: plain processes of this one.
type localMachine struct {
	keeper
	wg sync.WaitGroup
}

func newLocalMachine() *localMachine {
	return &localMachine{keeper: keeper{exits: map[int]int{}, owned: map[int]bool{}}}
}

// serve does what a machine's init does when asked. It reaps only what it started: the program has other children.
func (l *localMachine) serve(q request) (reply, error) {
	r := l.keeper.serve(q)
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s", q.Op, r.Error)
	}
	if q.Op == "start" {
		l.wg.Go(func() {
			var ws syscall.WaitStatus
			if _, err := syscall.Wait4(r.PID, &ws, 0, nil); err != nil {
				return
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.exits[r.PID] = ws.ExitStatus()
			if ws.Signaled() {
				l.exits[r.PID] = 128 + int(ws.Signal())
			}
		})
	}
	return r, nil
}

// first is the process that has lived longest of those started; 0 when none lives.
func (l *localMachine) first() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for pid := range l.owned {
		if _, ended := l.exits[pid]; !ended {
			return pid
		}
	}
	return 0
}

// processes are those that were started, and the tasks whose directories are on the machine's disk.
func (l *localMachine) processes(dir string) []Process {
	var ps []Process
	for _, pid := range pids() {
		l.mu.Lock()
		_, ended := l.exits[pid]
		own := l.owned[pid] && !ended
		l.mu.Unlock()
		if !own {
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil || pid == os.Getpid() || !bytes.Contains(environ, []byte("="+dir+"/")) {
				continue
			}
		}
		if p, err := readProcess(pid); err == nil {
			ps = append(ps, p)
		}
	}
	return ps
}
