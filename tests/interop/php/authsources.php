<?php
// Who may sign in, all with one password.
$people = ['exampleauth:UserPass'];
foreach (['ada', 'mia', 'eve'] as $name) {
    $people["$name:correct horse"] = [
        'uid' => [$name],
        'mail' => ["$name@example.com"],
        'displayName' => ["The one called $name"],
        'groups' => ['staff', 'finance'],
    ];
}
$config = ['people' => $people];
