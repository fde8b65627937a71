package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/e2e/herd"
)

// What keys send.
const (
	enter = "\r"
	ctrlC = "\x03"
	ctrlD = "\x04"
)

// terminal is a pseudo-terminal on which somebody runs one command.
type terminal struct {
	t      *testing.T
	master console.Console
	slave  *os.File // kept open to see how the command leaves it
	cmd    *exec.Cmd
	before unix.Termios
	ended  chan struct{}
	reader sync.WaitGroup

	mu    sync.Mutex
	shown bytes.Buffer
}

// onTerminal runs the command line against a node on a terminal of a size.
func onTerminal(t *testing.T, n *herd.Node, rows, columns uint16, args ...string) *terminal {
	t.Helper()
	master, name, err := console.NewPty()
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, master: master, slave: slave, cmd: exec.Command(env.drover, args...), ended: make(chan struct{})}
	x.resize(rows, columns)
	x.before = x.settings()
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.Env = append(os.Environ(), "DROVER_ADDR="+n.Addr(), "TERM=xterm", "NO_COLOR=1")
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	x.reader.Go(x.read)
	x.reader.Go(func() {
		_ = x.cmd.Wait() // its exit code is asked for below
		close(x.ended)
	})
	t.Cleanup(x.close)
	return x
}

func (x *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := x.master.Read(buf)
		x.mu.Lock()
		x.shown.Write(buf[:n])
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// close ends what still runs.
func (x *terminal) close() {
	_ = x.cmd.Process.Kill() // mostly ended
	_ = x.slave.Close()
	<-x.ended
	_ = x.master.Close()
	x.reader.Wait()
}

func (x *terminal) settings() unix.Termios {
	x.t.Helper()
	s, err := unix.IoctlGetTermios(int(x.slave.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal("ask for the terminal's settings:", err)
	}
	return *s
}

func (x *terminal) resize(rows, columns uint16) {
	x.t.Helper()
	if err := x.master.Resize(console.WinSize{Height: rows, Width: columns}); err != nil {
		x.t.Fatal("resize the terminal:", err)
	}
}

// typed presses keys.
func (x *terminal) typed(keys string) {
	x.t.Helper()
	if _, err := x.master.Write([]byte(keys)); err != nil {
		x.t.Fatalf("type %q: %v", keys, err)
	}
}

func (x *terminal) screen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.shown.String()
}

// shows waits until the terminal has shown a text.
func (x *terminal) shows(text string) {
	x.t.Helper()
	eventually(x.t, 30*time.Second, "the terminal shows "+text, func(context.Context) error {
		if s := x.screen(); !strings.Contains(s, text) {
			return fmt.Errorf("it shows %q", s)
		}
		return nil
	})
}

// ends waits for the command's end: with this exit code, and the terminal as it was.
func (x *terminal) ends(code int) {
	x.t.Helper()
	x.awaitEnd()
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("exit code %d, want %d; it shows %q", got, code, x.screen())
	}
	if after := x.settings(); after != x.before {
		x.t.Errorf("the terminal's settings were %+v, are %+v", x.before, after)
	}
}

// awaitEnd waits for the command's end, however it ends.
func (x *terminal) awaitEnd() {
	x.t.Helper()
	select {
	case <-x.ended:
	case <-time.After(30 * time.Second):
		x.t.Fatalf("the command goes on; it shows %q", x.screen())
	}
}

// TestTerminal runs commands as people do, on a terminal, against a machine that the asked agent has to reach itself.
func TestTerminal(t *testing.T) {
	hangups := make(chan os.Signal, 1) // under nohup the commands would inherit that they are ignored
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	h := form(t, herd.Options{Servers: 1, Clients: 1, Driver: herd.DriverExec})
	ask, target := h.Nodes[0], h.Nodes[1]
	shell := work{id: "shell", copies: 1, node: target.Name, config: `command = "/bin/sh"` + "\n" + `args = ["-c", "echo begun; exec sleep 100000"]`}
	command(t, ask, 0, "job", "run", shell.file(t))
	web := work{id: "web", copies: 1, node: target.Name}
	command(t, ask, 0, "job", "run", web.file(t))

	t.Run("a shell inside a task", func(t *testing.T) { shellInside(t, ask) })
	t.Run("what leaves a command kills it", func(t *testing.T) { leaveInside(t, ask) })
	t.Run("a forwarded port", func(t *testing.T) { forwardInside(t, ask) })
	t.Run("what goes on until interrupted", func(t *testing.T) {
		for name, c := range map[string]struct {
			args  []string
			shows string
		}{
			"logs":   {[]string{"alloc", "logs", "-f", "shell"}, "begun"},
			"top":    {[]string{"top"}, target.Name},
			"events": {[]string{"events", "-f", "--index", "1"}, "JobRegistered"},
			"status": {[]string{"job", "status", "-w"}, "shell"},
		} {
			t.Run(name, func(t *testing.T) {
				x := onTerminal(t, ask, 24, 100, c.args...)
				x.shows(c.shows)
				x.typed(ctrlC)
				x.ends(0)
			})
		}
	})
	t.Run("a roll-out goes on without its watcher", func(t *testing.T) {
		slow := work{id: "never", copies: 1, group: "constraint {\n attribute = \"${node.class}\"\n value = \"none\"\n}\n"}
		file := slow.file(t)
		x := onTerminal(t, ask, 24, 100, "job", "run", file)
		x.shows("cannot be placed")
		x.ends(2)
		x = onTerminal(t, ask, 24, 100, "job", "wait", "--for", "running", "never")
		x.shows("[")
		x.typed(ctrlC)
		x.ends(130)
		says(t, command(t, ask, 0, "job", "status", "never"), "pending")
	})
	t.Run("a question", func(t *testing.T) {
		x := onTerminal(t, ask, 24, 100, "apply", "--prune", "-f", shell.file(t))
		x.shows("[y/N]")
		x.typed("n" + enter)
		x.ends(1)
		says(t, command(t, ask, 0, "job", "status", "web"), "running")
	})
}

// shellInside lives in a shell of a task: sizes, interrupts, the end.
func shellInside(t *testing.T, ask *herd.Node) {
	x := onTerminal(t, ask, 33, 99, "exec", "shell", "sh")
	x.typed("stty size; echo $TERM" + enter)
	x.shows("33 99\r\nxterm\r\n")
	x.resize(41, 132)
	x.typed("until stty size | grep 41; do sleep 0.01; done" + enter)
	x.shows("41 132\r\n")
	x.typed("sh -c 'echo up-$((40+2)); exec sleep 1000'" + enter)
	x.shows("up-42\r\n")
	x.typed(ctrlC) // for the sleep, neither for the shell nor for our command
	x.typed("echo back-$((40+3))" + enter)
	x.shows("back-43\r\n")
	x.typed("printf '~%s\\n' ok" + enter) // no escape within a line
	x.shows("~ok\r\n")
	x.typed("exit 7" + enter)
	x.ends(7)

	x = onTerminal(t, ask, 24, 80, "exec", "shell", "cat")
	x.typed("echoed" + enter)
	x.shows("echoed\r\nechoed\r\n") // by the task's terminal, and by cat
	x.typed(ctrlD)
	x.ends(0)

	x = onTerminal(t, ask, 24, 80, "exec", "shell", "no-such-program")
	x.shows("not found")
	x.ends(127)
}

// leaveInside leaves commands in all the ways there are, and looks whether they are gone.
func leaveInside(t *testing.T, ask *herd.Node) {
	for name, c := range map[string]struct {
		flags []string
		leave func(x *terminal)
	}{
		"the escape":  {nil, func(x *terminal) { x.typed(enter + "~."); x.ends(130) }},
		"an escape":   {[]string{"-e", "!"}, func(x *terminal) { x.typed(enter + "!."); x.ends(130) }},
		"no terminal": {[]string{"-t=false"}, func(x *terminal) { x.typed(ctrlC); x.ends(130) }},
		"ended":       {nil, func(x *terminal) { _ = x.cmd.Process.Signal(syscall.SIGTERM); x.ends(130) }},
		"hung up":     {nil, func(x *terminal) { _ = x.cmd.Process.Signal(syscall.SIGHUP); x.awaitEnd() }}, // its window is closed
	} {
		t.Run(name, func(t *testing.T) {
			args := append(append([]string{"exec"}, c.flags...), "shell", "sh", "-c", "echo pid-$$; exec sleep 1000")
			x := onTerminal(t, ask, 24, 80, args...)
			x.shows("\n") // the line is whole
			pid := regexp.MustCompile(`pid-(\d+)\r?\n`).FindStringSubmatch(x.screen())
			if pid == nil {
				t.Fatalf("it shows %q", x.screen())
			}
			command(t, ask, 0, "exec", "shell", "kill", "-0", pid[1])
			c.leave(x)
			eventually(t, 10*time.Second, "the command is killed", func(ctx context.Context) error {
				if out, err := ask.Drover(ctx, "exec", "shell", "kill", "-0", pid[1]); err == nil {
					return errors.New("it lives: " + out)
				}
				return nil
			})
		})
	}
}

// forwardInside reaches a port of a task until ctrl-C.
func forwardInside(t *testing.T, ask *herd.Node) {
	x := onTerminal(t, ask, 24, 100, "port-forward", "web", "0:http")
	x.shows("\n")
	at := regexp.MustCompile(`Forwarding (\S+) to port "http"`).FindStringSubmatch(x.screen())
	if at == nil {
		t.Fatalf("it shows %q", x.screen())
	}
	get := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at[1]+"/", nil)
		if err != nil {
			return err
		}
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	for range 3 {
		if err := get(t.Context()); err != nil {
			t.Fatal("through the forwarded port:", err)
		}
	}
	x.typed(ctrlC)
	x.ends(0)
	if err := get(t.Context()); err == nil {
		t.Error("the port is still forwarded")
	}
}
