package exitnote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// DirEnv names the directory in the environment that the daemon hands down to its shims.
const DirEnv = "DROVER_EXITS"

// Note says how a container ended.
type Note struct {
	Code uint32
	At   time.Time
	OOM  bool // the kernel killed one of its processes for memory
}

// Write stores the note of a container, whole or not at all.
func Write(dir, container string, n Note) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+container)
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write exit note: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, container)); err != nil {
		return fmt.Errorf("write exit note: %w", err)
	}
	return nil
}

// Read finds the note of a container. ok is false when there is none.
func Read(dir, container string) (n Note, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, container))
	if errors.Is(err, fs.ErrNotExist) {
		return n, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return n, false, fmt.Errorf("read exit note of container %s: %w", container, err)
	}
	return n, true, nil
}

// Remove deletes the note of a container, if there is one.
func Remove(dir, container string) error {
	if err := os.Remove(filepath.Join(dir, container)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove exit note: %w", err)
	}
	return nil
}
