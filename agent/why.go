package agent

import (
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/sched"
)

// readings are the deciding part's answers that change nothing, with this server's settings.
func (s *server) readings() api.Decider {
	opts := s.schedOptions()
	return api.Decider{
		Plan: opts.DryRun, Explain: sched.Explain, ExplainAlloc: opts.ExplainAlloc, ExplainNode: sched.ExplainNode,
		Warnings: sched.Warnings, Garbage: sched.GarbageNow, Guard: s.guard,
	}
}
