package containerd

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// The tests use plain directories: rmdir is all that matters.
func TestRemoveCgroup(t *testing.T) {
	root := t.TempDir()
	const alloc = "/drover/node/alloc"
	for _, dir := range []string{"memory" + alloc + "/task/child", "memory" + alloc + "/other", "cpu" + alloc + "/task", "unified"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := removeCgroup(t.Context(), root, alloc+"/task", &sync.Mutex{}); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]bool{
		"memory" + alloc + "/task": false, "memory" + alloc + "/other": true,
		"cpu" + alloc: false, "cpu/drover/node": false, "cpu/drover": true, "unified": true,
	} {
		if _, err := os.Stat(filepath.Join(root, dir)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", dir, err == nil, want)
		}
	}
}

func TestRemoveCgroupV2(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "cgroup.controllers"), []byte("cpu memory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "drover/n/a/t"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeCgroup(t.Context(), root, "/drover/n/a/t", &sync.Mutex{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "drover/n")); err == nil {
		t.Error("it is left")
	}
}

func TestRemoveCgroupRefuses(t *testing.T) {
	for _, path := range []string{"", "/", "/drover", "drover/a", "/drover/../a", "/a//b", "system.slice:x:y"} {
		if removeCgroup(t.Context(), t.TempDir(), path, &sync.Mutex{}) == nil {
			t.Errorf("%q was removed", path)
		}
	}
}
