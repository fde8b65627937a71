package herd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/drover-io/drover/internal/waitfor"
)

func TestMain(m *testing.M) {
	if err := Main(true); err != nil {
		fmt.Println("namespaces:", err) // the tests skip by name
	}
	os.Exit(m.Run())
}

func TestMachineLivesDiesAndReboots(t *testing.T) {
	if !Inside() {
		t.Skip("needs the right to make network namespaces (root, or user namespaces)")
	}
	hello := filepath.Join(t.TempDir(), "hello")
	build := exec.Command("go", "build", "-o", hello, "../../examples/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build hello: %v\n%s", err, out)
	}
	w, err := OpenWire()
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.NewMachine("one", t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Boot(); err != nil {
		t.Fatal(err)
	}
	firstBoot := bootID(t, m)
	addr := m.IP.String() + ":8080"
	pid, err := m.Start("hello.log", nil, hello)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(context.Context) error {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return err
		}
		return c.Close()
	}
	if _, err := waitfor.True(t.Context(), 5*time.Second, 10*time.Millisecond, answers); err != nil {
		t.Fatal(err)
	}
	if got := len(Named(m.Processes(), "hello")); got != 1 {
		t.Errorf("processes named hello: got %d, want 1", got)
	}
	if err := m.CutLink(); err != nil {
		t.Fatal(err)
	}
	if err := answers(t.Context()); err == nil {
		t.Error("answers through a cut link")
	}
	if err := m.HealLink(); err != nil {
		t.Fatal(err)
	}
	if _, err := waitfor.True(t.Context(), 5*time.Second, 10*time.Millisecond, answers); err != nil {
		t.Fatal("after healing:", err)
	}
	if err := m.Signal(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := waitfor.True(t.Context(), 5*time.Second, 10*time.Millisecond, func(context.Context) error {
		if alive, code, err := m.Status(pid); err != nil || alive || code != 137 {
			return fmt.Errorf("alive %v, code %d, %v", alive, code, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := m.Die(); err != nil {
		t.Fatal(err)
	}
	if err := m.Boot(); err != nil {
		t.Fatal(err)
	}
	if again := bootID(t, m); again == firstBoot {
		t.Errorf("boot ID %s is the same after a reboot", again)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func bootID(t *testing.T, m *Machine) string {
	t.Helper()
	pid, err := m.Start("boot.log", nil, "/bin/cat", "/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := waitfor.True(t.Context(), 5*time.Second, 5*time.Millisecond, func(context.Context) error {
		if alive, _, err := m.Status(pid); err != nil || alive {
			return fmt.Errorf("still running, %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(m.Dir, "boot.log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	return lines[len(lines)-1]
}
