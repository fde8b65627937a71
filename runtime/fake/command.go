package fake

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/drover-io/drover/runtime"
)

// OpExec is the operation of running a command inside a task.
const OpExec = "Exec"

var _ runtime.Execer = (*Driver)(nil)

// Exec pretends to run a command: one of
//
//	echo WORD…      writes its words
//	complain WORD…  writes them to its standard error
//	cat             writes what it reads
//	exit CODE       ends with a code
//	env             writes the task's environment
//	sleep DURATION  takes so long
//	size            on a terminal, writes each size that it gets, until it reads the end of its input
//
// Any other is not found.
func (d *Driver) Exec(ctx context.Context, spec runtime.TaskSpec, cmd runtime.Command) (int, error) {
	if cmd.Stdin != nil {
		defer cmd.Stdin.Close()
	}
	if err := d.enter(ctx, OpExec, spec.ID); err != nil {
		return -1, fmt.Errorf("run a command in task %s: %w", spec.ID.Task, err)
	}
	m := d.m
	m.mu.Lock()
	t, ok := m.tasks[spec.ID]
	if !ok || !t.running(time.Now()) {
		m.mu.Unlock()
		return -1, fmt.Errorf("run a command in task %s: %w", spec.ID.Task, runtime.ErrNotFound)
	}
	m.commands++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.commands--
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return pretend(ctx, spec, cmd)
}

// Commands counts the commands that run inside tasks now.
func (m *Machine) Commands() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commands
}

func pretend(ctx context.Context, spec runtime.TaskSpec, cmd runtime.Command) (int, error) {
	words := strings.Join(cmd.Args[1:], " ")
	switch cmd.Args[0] {
	case "echo":
		_, err := fmt.Fprintln(cmd.Stdout, words)
		return 0, err
	case "complain":
		_, err := fmt.Fprintln(cmd.Stderr, words)
		return 0, err
	case "exit":
		return strconv.Atoi(words)
	case "env":
		for k, v := range spec.Env {
			if _, err := fmt.Fprintf(cmd.Stdout, "%s=%s\n", k, v); err != nil {
				return -1, err
			}
		}
		return 0, nil
	case "sleep":
		d, err := time.ParseDuration(words)
		if err != nil {
			return 1, err
		}
		select {
		case <-time.After(d):
			return 0, nil
		case <-ctx.Done():
			return -1, context.Cause(ctx)
		}
	case "cat":
		return copyInput(ctx, cmd)
	case "size":
		return tellSizes(ctx, cmd)
	}
	return 127, fmt.Errorf("command %q not found: %w", cmd.Args[0], runtime.ErrNoCommand)
}

// copyInput ends with its input or with ctx.
func copyInput(ctx context.Context, cmd runtime.Command) (int, error) {
	if cmd.Stdin == nil {
		return 0, nil
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Stdin.Close() })()
	_, err := io.Copy(cmd.Stdout, cmd.Stdin)
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	return 0, err
}

func tellSizes(ctx context.Context, cmd runtime.Command) (int, error) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	if cmd.Stdin != nil {
		defer cmd.Stdin.Close()
		wg.Go(func() {
			for lines := bufio.NewScanner(cmd.Stdin); lines.Scan(); {
			}
			close(ended)
		})
	}
	for {
		select {
		case <-ctx.Done():
			return -1, context.Cause(ctx)
		case <-ended:
			return 0, nil
		case s := <-cmd.Resize:
			if _, err := fmt.Fprintf(cmd.Stdout, "%d rows, %d columns\n", s.Rows, s.Columns); err != nil {
				return -1, err
			}
		}
	}
}
