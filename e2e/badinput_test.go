package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/state"
)

// TestBadInput hands one agent every kind of wrong job through the real command line: a clear message, an exit code, nothing lost.
func TestBadInput(t *testing.T) {
	h := form(t, herd.Options{Servers: 1, Driver: herd.DriverExec})
	n := h.Nodes[0]
	hello := fmt.Sprintf("command = %q", env.hello)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	resources := func(text string) string {
		return jobFile(t, fmt.Sprintf("job \"x\" {\n  group \"g\" {\n    task \"t\" {\n      driver = \"exec\"\n      config {\n        %s\n      }\n      resources {\n        %s\n      }\n    }\n  }\n}\n", hello, text))
	}
	for _, c := range []struct {
		name string
		file string
		code int
		says []string
	}{
		{"malformed", jobFile(t, "job \"x\" {\n  group \"g\" {\n"), 1, []string{":2:13: error", "closing brace"}},
		{"huge", jobFile(t, "job \"x\" {\n"+strings.Repeat("# a comment that nobody reads\n", 2<<20/30)+"}\n"), 1, []string{"more than 1048576 bytes"}},
		{"unknown attribute", jobFile(t, "job \"x\" {\n  group \"g\" {\n    cuont = 3\n  }\n}\n"), 1, []string{"cuont", "count"}},
		{"unsupported block", jobFile(t, "job \"x\" {\n  periodic {\n    cron = \"* * * * *\"\n  }\n}\n"), 1, []string{"periodic", "not supported"}},
		{"count 0", work{id: "none", copies: 0}.file(t), 0, []string{"none"}},
		{"count -1", work{id: "x", copies: -1}.file(t), 1, []string{"count"}},
		{"count 1000000", work{id: "x", copies: 1000000}.file(t), 1, []string{"count", "10000"}},
		{"memory no node has", resources("memory = 50000000"), 2, []string{"memory", "cannot be placed"}},
		{"no such file", filepath.Join(t.TempDir(), "no.nomad.hcl"), 1, []string{"no.nomad.hcl"}},
		{"no such command", work{id: "nocommand", copies: 1, group: never, config: `command = "/nowhere/at/all"`}.file(t), 1, []string{"/nowhere/at/all"}},
		{"not executable", work{id: "plain", copies: 1, group: never, config: fmt.Sprintf("command = %q", plain)}.file(t), 1, []string{plain, "executable"}},
		{"crash loop", work{
			id: "crash", copies: 1, config: `command = "/bin/false"`,
			group: "restart {\n attempts = 1\n interval = \"10m\"\n delay = \"1s\"\n mode = \"fail\"\n}\nreschedule {\n attempts = 0\n unlimited = false\n}\n",
		}.file(t), 1, []string{"exit code 1"}},
	} {
		t.Run(c.name, func(t *testing.T) { says(t, command(t, n, c.code, "job", "run", c.file), c.says...) })
	}
	t.Run("nothing of what was refused is stored", func(t *testing.T) {
		out := command(t, n, 0, "job", "status")
		for _, id := range []string{"none", "crash"} {
			says(t, out, id)
		}
		if got := strings.Count(out, "\n"); got > 8 {
			t.Errorf("more jobs than were registered:\n%s", out)
		}
	})
}

func TestTasksThatMisbehave(t *testing.T) {
	h := form(t, herd.Options{Servers: 1, Driver: herd.DriverExec})
	n := h.Nodes[0]
	t.Run("one that ignores SIGTERM is killed after its kill_timeout", func(t *testing.T) {
		script := `trap "" TERM; while true; do sleep 0.1; done`
		command(t, n, 0, "job", "run", work{
			id: "stubborn", copies: 1, config: fmt.Sprintf("command = \"/bin/sh\"\nargs = [\"-c\", %q]", script), task: `kill_timeout = "1500ms"`,
		}.file(t))
		if len(herd.Named(n.Processes(), "sh")) == 0 {
			t.Fatal("it does not run")
		}
		start := time.Now()
		command(t, n, 0, "job", "stop", "stubborn")
		if took := time.Since(start); took < 1500*time.Millisecond || took > 6*time.Second {
			t.Errorf("stopping took %s, want 1.5 s and a little", took)
		}
		if left := herd.Named(n.Processes(), "sh"); len(left) > 0 {
			t.Errorf("still there: %v", left)
		}
		x, err := onlyAlloc(t.Context(), n, "stubborn")
		if err != nil {
			t.Fatal(err)
		}
		says(t, events(x), "kill")
	})
	t.Run("one whose static port another program has fails with the reason", func(t *testing.T) {
		if _, err := n.Start("squatter.log", []string{"HELLO_ADDR=:9999"}, env.hello); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the port is taken", answersAt(fmt.Sprintf("http://%s:9999/", n.IP)))
		file := jobFile(t, fmt.Sprintf(`job "port" {
  group "g" {
    %s
    network {
      port "http" {
        static = 9999
      }
    }
    task "t" {
      driver = "exec"
      config {
        command = %q
      }
    }
  }
}
`, never, env.hello))
		command(t, n, 1, "job", "run", file)
		x := becomes(t, n, "port", state.ClientFailed)
		logs := command(t, n, 0, "alloc", "logs", "--stderr", x.ID)
		if said := events(x) + logs; !strings.Contains(said, "9999") || !strings.Contains(said, "in use") {
			t.Errorf("neither the events nor the log say that port 9999 is in use:\n%s", said)
		}
	})
	t.Run("stopped jobs leave no process", func(t *testing.T) {
		command(t, n, 0, "job", "stop", "port")
		if left := herd.Named(n.Processes(), "sh"); len(left) > 0 {
			t.Errorf("still there: %v", left)
		}
	})
}
