package herd

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is a process of a machine, seen from outside.
type Process struct {
	PID   int    // in the numbering of this program
	Start uint64 // clock ticks since boot: with PID it names a process for ever
	Comm  string
	Args  []string
}

// Processes lists everything that runs in the machine's network namespace, its init left out.
func (m *Machine) Processes() []Process {
	if m.local != nil {
		return m.local.processes(m.Dir)
	}
	init := m.InitPID()
	if init == 0 {
		return nil
	}
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", init))
	if err != nil {
		return nil
	}
	var ps []Process
	for _, pid := range pids() {
		if pid == init {
			continue
		}
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil || ns != want {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			ps = append(ps, p)
		}
	}
	return ps
}

// Named filters processes by their command's base name.
func Named(ps []Process, name string) []Process {
	var out []Process
	for _, p := range ps {
		if len(p.Args) > 0 && filepath.Base(p.Args[0]) == name {
			out = append(out, p)
		}
	}
	return out
}

func pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

func readProcess(pid int) (Process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, err
	}
	text := string(stat)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')') // the name may hold blanks and brackets
	if open < 0 || end < open {
		return Process{}, fmt.Errorf("parse /proc/%d/stat", pid)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 20 || fields[0] == "Z" {
		return Process{}, fmt.Errorf("process %d is a zombie", pid)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return Process{}, err
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return Process{}, err
	}
	args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	return Process{PID: pid, Start: start, Comm: text[open+1 : end], Args: args}, nil
}
