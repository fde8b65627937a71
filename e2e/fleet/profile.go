package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"

	"github.com/drover-io/drover/api"
)

// Profile writes a profile of the server's process to a file: "profile" (of the processor, for d), "heap", "allocs", ….
func (s *Server) Profile(ctx context.Context, name string, d time.Duration, file string) error {
	from, err := s.API.Profile(ctx, api.AgentRef{}, name, d, 0)
	if err != nil {
		return fmt.Errorf("profile server %s: %w", s.Name, err)
	}
	defer func() { _ = from.Close() }() // it was read to its end
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		return errors.Join(fmt.Errorf("profile server %s: %w", s.Name, err), to.Close())
	}
	return to.Close()
}

// cpuProfile is the profile of this process that is being taken, if any.
type cpuProfile struct{ to *os.File }

// into ends the profile that is being taken and begins one into a file; "" begins none.
func (p *cpuProfile) into(file string) error {
	if p.to != nil {
		pprof.StopCPUProfile()
		if err := p.to.Close(); err != nil {
			return err
		}
		p.to = nil
	}
	if file == "" {
		return nil
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	p.to = to
	return pprof.StartCPUProfile(to)
}
