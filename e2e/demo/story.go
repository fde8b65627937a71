package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/internal/waitfor"
)

const copies = 6

// story is the demo under way.
type story struct {
	o     options
	dir   string
	herd  *herd.Herd
	began time.Time
	names bool // machines are namespaces
}

// tell runs the demo.
func tell(ctx context.Context, o options, namespaces error) (err error) {
	s := &story{o: o, began: time.Now(), names: namespaces == nil}
	if s.dir, err = os.MkdirTemp("", "drover-demo-"); err != nil {
		return err
	}
	s.introduce(namespaces)
	defer func() {
		if s.o.keep && err == nil {
			err = s.keep()
			return
		}
		err = errors.Join(err, s.clean())
	}()
	for _, step := range []func(context.Context) error{s.form, s.runJob, s.answers, s.killAgent, s.killMachine} {
		if err := step(ctx); err != nil {
			s.showLogs()
			return err
		}
	}
	s.say("The herd healed by itself. Everything took %.1f s.", time.Since(s.began).Seconds())
	return nil
}

func (s *story) say(format string, args ...any) {
	fmt.Printf("\n%6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// quote prints what a command answered.
func quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Print("         | ", line)
	}
}

func (s *story) introduce(namespaces error) {
	fmt.Println("Drover, the main job end to end.")
	switch {
	case s.names && herd.OuterUID() == 0:
		fmt.Println("Machines: three, each of network, mount and process namespaces on one bridge.")
	case s.names:
		fmt.Println("Machines: three, each of namespaces on one bridge, inside a user namespace (you are not root).")
	default:
		fmt.Printf("Machines: three agents on this machine's loopback interface, because %v.\n", namespaces)
		fmt.Println("          Cutting a machine's link is not possible so: its death will be declared with `drover node lost`.")
	}
	switch {
	case s.o.driver == herd.DriverExec:
		fmt.Println("Work:     plain processes (the exec driver).")
	case hostContainerd() != "":
		fmt.Printf("Work:     containers of this host's containerd, %s, shared by the machines.\n", hostContainerd())
	default:
		fmt.Println("Work:     containers; each machine runs the containerd that is inside the drover binary.")
	}
}

// hostContainerd is the socket of the host's daemon, "" when none answers.
func hostContainerd() string {
	const socket = "/run/containerd/containerd.sock"
	if info, err := os.Stat(socket); err == nil && info.Mode()&os.ModeSocket != 0 && os.Getenv("EMBEDDED") != "1" && listens(socket) {
		return socket
	}
	return ""
}

// form starts the herd.
func (s *story) form(ctx context.Context) error {
	s.say("Three agents start. Each is a server and runs work; each has the same retry_join line, and nothing else is configured.")
	opts := herd.Options{Dir: s.dir, Drover: s.o.drover, Servers: 3, Driver: s.o.driver, Loopback: !s.names}
	if s.o.driver == herd.DriverContainerd {
		opts.HostContainerd = hostContainerd()
	}
	h, err := herd.New(opts)
	if err != nil {
		return err
	}
	s.herd = h
	took, err := h.WaitReady(ctx, time.Minute)
	if err != nil {
		return fmt.Errorf("form a cluster: %w", err)
	}
	s.say("The cluster formed in %.1f s: a leader, and three machines ready for work.", took.Seconds())
	return s.show(ctx, h.Nodes[0], "server", "members")
}

// show runs a command of the command line and prints what it answers.
func (s *story) show(ctx context.Context, n *herd.Node, args ...string) error {
	fmt.Printf("         $ drover %s\n", strings.Join(args, " "))
	out, err := n.Drover(ctx, args...)
	quote(out)
	if err != nil {
		return fmt.Errorf("drover %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// jobFile is the demo's job.
func (s *story) jobFile() (string, error) {
	config := fmt.Sprintf("config {\n        command = %q\n      }", s.o.hello)
	driver := "exec"
	if s.o.driver == herd.DriverContainerd {
		img, err := image.Build(s.o.hello, image.Config{})
		if err != nil {
			return "", err
		}
		tar := filepath.Join(s.dir, "hello.tar")
		if err := image.WriteTar(img, tar, "example.test/hello:1"); err != nil {
			return "", err
		}
		driver, config = "docker", fmt.Sprintf("config {\n        image = \"file://%s\"\n      }", tar)
	}
	path := filepath.Join(s.dir, "hello.nomad.hcl")
	return path, os.WriteFile(path, []byte(fmt.Sprintf(`job "hello" {
  group "web" {
    count = %d

    network {
      port "http" {}
    }

    task "hello" {
      driver = %q

      %s

      env {
        HELLO_NODE = "${node.unique.name}"
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
`, copies, driver, config)), 0o644)
}

func (s *story) runJob(ctx context.Context) error {
	path, err := s.jobFile()
	if err != nil {
		return err
	}
	if s.o.driver == herd.DriverContainerd {
		s.say("An image was built on the spot, from our own examples/hello. A job file is submitted: %d copies.", copies)
	} else {
		s.say("A job file is submitted: %d copies of our own examples/hello.", copies)
	}
	start := time.Now()
	if err := s.show(ctx, s.herd.Nodes[1], "job", "run", path); err != nil {
		return err
	}
	s.say("All %d copies run, %.1f s after the job was submitted.", copies, time.Since(start).Seconds())
	return nil
}

// reply is what a copy of hello says of itself.
type reply struct {
	Alloc, Node, Version string
	PID                  int
}

// ask asks one copy over HTTP.
func ask(ctx context.Context, addr string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return reply{}, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	var r reply
	return r, json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&r)
}

// ask every running copy; the answers by allocation.
func (s *story) askAll(ctx context.Context, c *api.Client) (map[string]reply, error) {
	allocs, _, err := c.JobAllocations(ctx, "hello", api.QueryOptions{})
	if err != nil {
		return nil, err
	}
	out := map[string]reply{}
	for _, x := range allocs {
		if x.ClientStatus != "running" || x.DesiredStatus != "run" || len(x.Ports) == 0 {
			continue
		}
		r, err := ask(ctx, fmt.Sprintf("%s:%d", x.Ports[0].HostIP, x.Ports[0].HostPort))
		if err != nil {
			return out, fmt.Errorf("ask %s on %s: %w", x.Name, x.NodeName, err)
		}
		if r.Alloc != x.ID {
			return out, fmt.Errorf("the copy at %s:%d says it is %s, want %s", x.Ports[0].HostIP, x.Ports[0].HostPort, r.Alloc, x.ID)
		}
		out[x.ID] = r
	}
	return out, nil
}

func (s *story) answers(ctx context.Context) error {
	var got map[string]reply
	_, err := waitfor.True(ctx, 20*time.Second, 50*time.Millisecond, func(ctx context.Context) (err error) {
		got, err = s.askAll(ctx, s.herd.Up()[0].API)
		if err == nil && len(got) != copies {
			err = fmt.Errorf("%d of %d copies answer", len(got), copies)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.say("Each copy answers over HTTP:")
	var lines []string
	for id, r := range got {
		lines = append(lines, fmt.Sprintf("alloc %s, version %s, on %s\n", id[:8], r.Version, r.Node))
	}
	sort.Strings(lines)
	quote(strings.Join(lines, ""))
	return nil
}
