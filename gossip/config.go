package gossip

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// Config says who a member is and where it gossips.
type Config struct {
	Name          string // node ID: the key of a member, unique among live machines
	BindAddr      string // IP to listen on, UDP and TCP
	BindPort      int    // 0 picks a free one; see Gossip.Addr
	AdvertiseAddr string // IP at which others reach this member; default the bound one, or a private one of the machine
	AdvertisePort int    // default BindPort

	// EncryptKey, 16, 24 or 32 bytes, encrypts everything and keeps out whoever lacks it. Empty: in the clear.
	EncryptKey []byte
	Tags       Tags

	// Transport carries the packets and streams; nil: UDP and TCP of this machine.
	Transport memberlist.Transport

	RejoinInterval time.Duration // how often to look for one of the dead, so that partitions heal however long they lasted
	RememberDead   time.Duration // how long the dead and those that left stay in Members
	Logger         hclog.Logger
}

// DefaultConfig returns the settings of a local network: a member that died is noticed within about 10 s.
func DefaultConfig() Config {
	return Config{
		BindAddr:       "0.0.0.0",
		RejoinInterval: 30 * time.Second,
		RememberDead:   24 * time.Hour,
		Logger:         hclog.NewNullLogger(),
	}
}

// Validate says what is missing or wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("name (node ID) is empty"))
	}
	if n := len(c.EncryptKey); n != 0 && n != 16 && n != 24 && n != 32 {
		errs = append(errs, fmt.Errorf("encrypt key has %d bytes, need 16, 24 or 32", n))
	}
	if c.Logger == nil || c.RejoinInterval <= 0 || c.RememberDead <= 0 {
		errs = append(errs, errors.New("logger, RejoinInterval and RememberDead must be set; start from DefaultConfig"))
	}
	if _, err := c.Tags.encode(); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check gossip configuration: %w", err)
	}
	return nil
}
