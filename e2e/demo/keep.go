package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/drover-io/drover/e2e/herd"
)

// kept is what the demo remembers of a herd that it left running.
type kept struct {
	Dir  string
	PIDs []int // inits of the machines, or agents
}

func keptFile() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("drover-demo-kept-%d.json", herd.OuterUID()))
}

// keep leaves the herd running and says what to try next.
func (s *story) keep() error {
	k := kept{Dir: s.dir}
	if err := s.herd.Keep(); err != nil {
		return err
	}
	for _, n := range s.herd.Nodes {
		if pid := n.InitPID(); pid != 0 {
			k.PIDs = append(k.PIDs, pid)
		}
	}
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keptFile(), data, 0o600); err != nil {
		return err
	}
	n := s.herd.Up()[0]
	enter := ""
	if s.names {
		enter = fmt.Sprintf("nsenter --target %d --net ", n.InitPID())
		if herd.OuterUID() != 0 {
			enter = fmt.Sprintf("nsenter --target %d --user --preserve-credentials --net ", n.InitPID())
		}
	}
	fmt.Printf("\nThe herd runs on (KEEP=1). Try:\n")
	for _, cmd := range []string{"node status", "job status hello", "alloc status", "job why hello"} {
		fmt.Printf("  %s%s --address %s %s\n", enter, s.o.drover, n.Addr(), cmd)
	}
	fmt.Printf("Agents' logs: %s/*/agent.log\nEnd it with:  bin/demo --stop\n", s.dir)
	return nil
}

// stopKept ends a herd that an earlier run left running.
func stopKept() error {
	data, err := os.ReadFile(keptFile())
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("no kept herd: start one with `make demo KEEP=1`")
	}
	if err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return fmt.Errorf("read %s: %w", keptFile(), err)
	}
	if !strings.HasPrefix(filepath.Base(k.Dir), "drover-demo-") {
		return fmt.Errorf("%s names %s, which is not a demo's directory", keptFile(), k.Dir)
	}
	for _, pid := range k.PIDs {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end machine with init %d: %w", pid, err)
		}
	}
	if err := herd.RemoveTraces(k.Dir); err != nil {
		return err
	}
	if err := os.RemoveAll(k.Dir); err != nil {
		return err
	}
	fmt.Println("The herd is gone.")
	return os.Remove(keptFile())
}
