package api

import (
	"strconv"

	"github.com/drover-io/drover/state"
)

// SchedulerConfigRequest is how the cluster is to place from now on.
type SchedulerConfigRequest struct {
	SchedulerAlgorithm            string // "binpack" or "spread"
	MemoryOversubscriptionEnabled bool
	RejectJobRegistration         bool
	CreateIndex                   uint64 `json:",omitempty"` // as it was read; means nothing here, see ?cas
	ModifyIndex                   uint64 `json:",omitempty"`
}

// SchedulerConfigResponse is how the cluster places.
type SchedulerConfigResponse struct {
	SchedulerConfig *state.SchedulerConfig
	Index           uint64
}

// SchedulerConfigWritten says whether a configuration was taken.
type SchedulerConfigWritten struct {
	Updated   bool // false when ?cas named another index than the stored one's
	Index     uint64
	RequestID string
}

// readSchedulerConfig answers what counts before anybody has set it, too: a cluster of level 1 has none.
func readSchedulerConfig(_ *call, snap *state.Snapshot) (*SchedulerConfigResponse, error) {
	cfg := snap.SchedulerConfig()
	if cfg == nil {
		cfg = &state.SchedulerConfig{SchedulerAlgorithm: state.AlgorithmBinPack}
	}
	return &SchedulerConfigResponse{SchedulerConfig: cfg, Index: snap.Index()}, nil
}

func setSchedulerConfig(c *call, req *SchedulerConfigRequest) (*SchedulerConfigWritten, error) {
	cmd := state.SetSchedulerConfig{
		RequestID: c.requestID, Time: c.s.b.Now(),
		Config: state.SchedulerConfig{
			SchedulerAlgorithm: req.SchedulerAlgorithm, MemoryOversubscriptionEnabled: req.MemoryOversubscriptionEnabled,
			RejectJobRegistration: req.RejectJobRegistration,
		},
	}
	if c.query.Has("cas") {
		index, err := strconv.ParseUint(c.query.Get("cas"), 10, 64)
		if err != nil {
			return nil, NewError(CodeInvalid, "give the ModifyIndex that was read", "cas %q is not an index", c.query.Get("cas"))
		}
		cmd.EnforceIndex, cmd.ModifyIndex = true, index
	}
	done, err := c.written(cmd)
	if err != nil {
		return nil, err
	}
	return &SchedulerConfigWritten{Updated: true, Index: done.Index, RequestID: done.RequestID}, nil
}

func watchSchedulerConfig(*call) watchFor {
	return watchFor{
		keys: []state.Key{state.KeyMeta()},
		changed: func(snap *state.Snapshot, since uint64) bool {
			cfg := snap.SchedulerConfig()
			return cfg != nil && cfg.ModifyIndex > since
		},
	}
}
