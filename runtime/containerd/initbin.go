package containerd

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd/companion"
)

// initBinary knows whether our binary can be the init of a container.
type initBinary struct {
	once sync.Once
	err  error
}

// initMount is our own binary, bound into the container as its process 1. It must need no loader and no libraries: the image has
// others, or none.
func (d *Driver) initMount() (specs.Mount, error) {
	d.init.once.Do(func() { d.init.err = checkStatic(d.cfg.SelfExe) })
	if d.init.err != nil {
		return specs.Mount{}, fmt.Errorf("config.init: %w: %w", runtime.ErrNotRetryable, d.init.err)
	}
	return bind(d.cfg.SelfExe, companion.InitPath, "ro", "nosuid", "nodev"), nil
}

func checkStatic(path string) error {
	if path == "" {
		return errors.New("the agent does not know its own binary, which would be the init")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode()&0o001 == 0 {
		return fmt.Errorf("%s is executable for its owner only: chmod 755 it, so that it can be the init of every user", path)
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs a loader and libraries, which images do not have: use a release of drover, or build with CGO_ENABLED=0", path)
		}
	}
	return nil
}
