// The report tells times in the zone of whoever asks for it.
"use strict";

const zone = document.querySelector("input[name=zone]");
if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
