package agent

import "github.com/berth-storage/berth/internal/volume"

// claimChanged is called when a claim of this node has come, gone or changed.
func (a *Agent) claimChanged(w volume.Want) {
	a.volumes.kick(a.carved.hear(w.ID()))
}
