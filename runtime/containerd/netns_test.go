package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

// agentEnv makes the test binary an agent that starts one task and tells of its own network namespace.
const agentEnv = "DROVER_TEST_AGENT"

type agentOrder struct {
	Address string
	NodeID  string
	Spec    runtime.TaskSpec
	Unpin   bool
}

func agentMain(path string) int {
	b, err := os.ReadFile(path)
	var o agentOrder
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	net, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return 1
	}
	fmt.Println(net)
	return 0
}

func (o agentOrder) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d, err := Open(Config{Address: o.Address, NodeID: o.NodeID})
	if err != nil {
		return err
	}
	defer d.Close()
	if o.Unpin {
		return d.UnpinNetNS(ctx)
	}
	var pins errgroup.Group
	for range 16 { // as when the tasks of many allocations start together
		pins.Go(func() error {
			_, err := d.PinNetNS(ctx)
			return err
		})
	}
	if err := pins.Wait(); err != nil {
		return err
	}
	if _, err := d.Start(ctx, o.Spec); err != nil {
		return err
	}
	_, err = d.Wait(ctx, o.Spec.ID)
	return err
}

// TestAgentInNetNS: the agent lives in a network namespace, with mounts of its own, and the daemon elsewhere. Its containers must
// have its network, also when it comes back in another namespace.
func TestAgentInNetNS(t *testing.T) {
	h := embeddedHost(t)
	d := h.driver(t, "n-netns")
	if path, err := d.PinNetNS(t.Context()); path != "" || err != nil {
		t.Fatalf("an agent beside its daemon pins %q, %v", path, err)
	}
	s, _, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := d.netNSPath()
	for _, flags := range []uintptr{unix.CLONE_NEWNET, unix.CLONE_NEWNET | unix.CLONE_NEWNS} {
		spec := h.task(t, d, "self")
		own := asAgent(t, h, flags, agentOrder{Address: s.address, NodeID: "n-netns", Spec: spec})
		out := read(t, spec.Stdout)
		if !strings.Contains(out, "netns "+own+"\n") {
			t.Errorf("agent in %s, container says %s", own, out)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("not pinned: %v", err)
		}
	}
	asAgent(t, h, unix.CLONE_NEWNET, agentOrder{Address: s.address, NodeID: "n-netns", Unpin: true})
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s is left", path)
	}
}

// asAgent runs the test binary in namespaces of its own and returns its network namespace.
func asAgent(t *testing.T, h *host, flags uintptr, o agentOrder) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(h.dir, "order.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), agentEnv+"="+file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("agent: %v: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
