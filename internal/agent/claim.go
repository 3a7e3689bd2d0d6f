package agent

import "github.com/berth-storage/berth/internal/volume"

// claimChanged is called when a claim of this node has come, gone or changed.
func (a *Agent) claimChanged(w volume.Want) {
	a.carved.hear(w.ID())
	a.kickClaim(w)
}

// kickClaim looks at the volume that is made for a claim, and at the one that the
// claim is bound to, which was made for another where it was kept after that.
func (a *Agent) kickClaim(w volume.Want) {
	a.volumes.kick(carvedID(w.ID()))
	if w.PV != "" && w.PV != w.ID() {
		a.volumes.kick(carvedID(w.PV))
	}
}
