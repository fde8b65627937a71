package api

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
)

// recoveryFake is a server that survived.
type recoveryFake struct{ a *agent }

func (f recoveryFake) Survey(context.Context) (*RecoveryView, error) {
	return &RecoveryView{NodeID: f.a.id, LastIndex: 7, LastTerm: 2, Risks: []string{"kept: everything"}}, nil
}

func (f recoveryFake) Recover(_ context.Context, req *RecoverRequest) (*RecoverResponse, error) {
	return &RecoverResponse{Index: req.LastIndex}, nil
}

func TestRecoverAsksTheServerThatWasLookedAt(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.client("s2")
		v, err := c.SurveyRecovery(t.Context())
		if err != nil || v.NodeID != "s2" {
			t.Fatalf("survey on s2: %+v, %v", v, err)
		}
		resp, err := c.Recover(t.Context(), &RecoverRequest{NodeID: "s2", LastIndex: 7, LastTerm: 2})
		if err != nil || resp.Index != 7 {
			t.Errorf("recover: %+v, %v", resp, err)
		}
		_, err = c.Recover(t.Context(), &RecoverRequest{NodeID: "s1", LastIndex: 7, LastTerm: 2})
		wantCode(t, err, CodeConflict)
	})
}

// recoverAt looks at a server and confirms what it saw.
func recoverAt(t *testing.T, m *matrix, r *Route, addr string) {
	res, data := m.h.raw(addr, http.MethodGet, r.Path, nil, nil)
	var v RecoveryView
	if err := json.Unmarshal(data, &v); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", res.Status, data, err)
	}
	body, err := json.Marshal(RecoverRequest{NodeID: v.NodeID, LastIndex: v.LastIndex, LastTerm: v.LastTerm})
	if err != nil {
		t.Fatal(err)
	}
	res, data = m.h.raw(addr, http.MethodPut, r.Path, nil, body)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", res.Status, data)
	}
	checkAnswer(t, r, res, data)
}
