package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAClientMadeOfTheDescriptionListsJobs makes a Go client of /v1/openapi.json with oapi-codegen, as a stranger would, builds it and
// lets it ask a living agent. The generator is a dependency of testdata/openapi alone.
func TestAClientMadeOfTheDescriptionListsJobs(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	h.must("job", "run", "--detach", "testdata/web.hcl")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/openapi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "drover"), 0o755); err != nil {
		t.Fatal(err)
	}
	download(t, "http://"+h.addr+"/v1/openapi.json", filepath.Join(dir, "openapi.json"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a new machine fetches the generator first
	defer cancel()
	command := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	command("go", "tool", "oapi-codegen", "-config", "config.yaml", "openapi.json")
	command("go", "build", "-o", "client", ".")
	if got, want := command("./client", "http://"+h.addr), "web service 50\n"; got != want {
		t.Errorf("the generated client prints %q, want %q", got, want)
	}
}

func download(t *testing.T, from, to string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", from, res.Status, err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
