// Before the page is drawn: the theme that was chosen, if one was.
"use strict";
const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
