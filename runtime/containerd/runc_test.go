package containerd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOtherRunc puts a script in front of runc that was "built without seccomp" and fails where the test says.
func TestOtherRunc(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		real, err := exec.LookPath("runc")
		if err != nil {
			t.Fatal(err)
		}
		failing := filepath.Join(h.dir, "fail")
		script := filepath.Join(h.dir, "runc")
		text := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = --version ]; then echo runc version 9.9.9; exit 0; fi\n"+
			"for a; do if [ -e %s-$a ]; then echo broken on purpose >&2; exit 1; fi; done\nexec %s \"$@\"\n", failing, real)
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		d := h.driver(t, "n-runc")
		d.cfg.RuncPath = script
		fp := d.Fingerprint(t.Context())
		if !fp.Info.Healthy || fp.Attributes["driver.containerd.seccomp"] != "false" || !strings.Contains(fp.Info.HealthDescription, "warning") ||
			fp.Attributes["driver.containerd.runtime"] != "runc 9.9.9" {
			t.Errorf("fingerprint %+v", fp)
		}
		for _, step := range []string{"create", "start"} {
			if err := os.WriteFile(failing+"-"+step, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			spec := h.task(t, d, "exit", "0")
			if _, err := d.Start(t.Context(), spec); err == nil {
				t.Errorf("runc %s fails and the task starts", step)
			}
			if list, err := d.List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("after runc %s failed there are left %v, %v", step, list, err)
			}
			if err := os.Remove(failing + "-" + step); err != nil {
				t.Fatal(err)
			}
			if exit, _ := run(t, d, spec); !exit.Success() {
				t.Errorf("the next start after runc %s failed: %+v", step, exit)
			}
			h.remove(t, d, spec.ID)
		}
		spec := h.task(t, d, "self")
		if _, out := run(t, d, spec); !strings.Contains(out, "Seccomp: 0") {
			t.Errorf("it says %s", out)
		}
		d.cfg.RuncPath = filepath.Join(h.dir, "none")
		if fp := d.Fingerprint(t.Context()); fp.Info.Detected || fp.Info.HealthDescription == "" {
			t.Errorf("without runc: %+v", fp)
		}
	})
}
